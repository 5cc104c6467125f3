import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// The delta rule: a state that is corrected towards each value instead of added to.
///
/// S_t = S_{t-1} + beta_t k_t (v_t - S_{t-1}^T k_t)^T, o_t = scale q_t^T S_t, with beta an operand. With keys of
/// length 1 and beta 1 what was stored at a key is replaced.
///
/// Schlag 2021, arXiv 2102.11174; Yang 2024, arXiv 2406.06484.
public struct DeltaAttention: RecurrentStrategy {
  public static let family = StrategyFamily(
    "delta", operatorClass: .different,
    summary: "linear attention by the delta rule: a key's old value makes room for the new one",
    source: "Yang 2024, arXiv 2406.06484", parameters: [.normalise],
    operands: [.beta(hasUnitKeys: false), .state], isSweptByDefault: false
  ) { arguments throws(AttentionError) in try DeltaAttention(arguments) }

  private let normalise: UnitLength

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    normalise = try arguments.choice("normalise") ?? .none
  }

  public var operands: [OperandDeclaration] { [.beta(hasUnitKeys: normalise == .l2), .state] }

  public func resolvedParameters(for problem: AttentionProblem) -> String { normalise.text }

  public func recurrence(for shape: AttentionShape) -> RecurrenceShape {
    RecurrenceShape(erases: true)
  }

  public func mapFeatures(
    _ rows: UnsafeMutablePointer<Float>, count: Int, stride: Int, headDim: Int,
    kernels: KernelTable
  ) { normalise.map(rows, count: count, stride: stride, kernels) }

  public func take(_ tokens: RecurrentTokens) { DeltaRule.take(tokens, beta: 0) }

  public func defineFeatures(_ row: inout [Double]) { normalise.define(&row) }

  public func define(_ token: inout RecurrentDefinition) { DeltaRule.define(&token, beta: 0) }
}
