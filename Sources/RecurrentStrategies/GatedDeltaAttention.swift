import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// The delta rule after a decay.
///
/// S' = exp(g_t) S_{t-1}, S_t = S' + beta_t k_t (v_t - S'^T k_t)^T, o_t = scale q_t^T S_t, with operands `decay` and
/// `beta`: a decay a token and head (Gated DeltaNet, in Qwen3-Next), or one a channel of the key (KDA, in
/// Kimi Linear).
///
/// Yang 2024, arXiv 2412.06464; Kimi Team 2025, arXiv 2510.26692.
public struct GatedDeltaAttention: RecurrentStrategy {
  public static let family = StrategyFamily(
    "gated_delta", operatorClass: .different, summary: "the delta rule on a state that decays",
    source: "Yang 2024, arXiv 2412.06464; Kimi Team 2025, arXiv 2510.26692",
    parameters: [.decay, .normalise],
    operands: [.decay(perChannel: false), .beta(hasUnitKeys: false), .state]
  ) { arguments throws(AttentionError) in try GatedDeltaAttention(arguments) }

  private let gate: DecayGate
  private let normalise: UnitLength

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    gate = try arguments.choice("decay") ?? .head
    normalise = try arguments.choice("normalise") ?? .none
  }

  public var operands: [OperandDeclaration] {
    [gate.operand, .beta(hasUnitKeys: normalise == .l2), .state]
  }

  public func resolvedParameters(for problem: AttentionProblem) -> String {
    gate.rawValue + (normalise == .none ? "" : ", \(normalise.text)")
  }

  public func recurrence(for shape: AttentionShape) -> RecurrenceShape {
    RecurrenceShape(decay: gate.decay, erases: true)
  }

  public func mapFeatures(
    _ rows: UnsafeMutablePointer<Float>, count: Int, stride: Int, headDim: Int,
    kernels: KernelTable
  ) { normalise.map(rows, count: count, stride: stride, kernels) }

  public func take(_ tokens: RecurrentTokens) {
    gate.take(tokens, gate: 0)
    DeltaRule.take(tokens, beta: 1)
  }

  public func defineFeatures(_ row: inout [Double]) { normalise.define(&row) }

  public func define(_ token: inout RecurrentDefinition) {
    gate.define(&token, gate: 0)
    DeltaRule.define(&token, beta: 1)
  }
}
