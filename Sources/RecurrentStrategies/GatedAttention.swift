import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// Gated linear attention: a state that decays.
///
/// S_t = exp(g_t) S_{t-1} + k_t v_t^T, o_t = scale q_t^T S_t, with g the operand `decay`: a number a token and
/// head (RetNet, Lightning Attention, Mamba-2), or one a channel of the key (GLA).
///
/// Sun 2023, arXiv 2307.08621; Yang 2023, arXiv 2312.06635.
public struct GatedAttention: RecurrentStrategy {
  public static let family = StrategyFamily(
    "gated", operatorClass: .different, summary: "linear attention whose state decays",
    source: "Yang 2023, arXiv 2312.06635",
    parameters: [.decay], operands: [.decay(perChannel: false), .state], isSweptByDefault: false
  ) { arguments throws(AttentionError) in try GatedAttention(arguments) }

  private let gate: DecayGate

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    gate = try arguments.choice("decay") ?? .head
  }

  public var operands: [OperandDeclaration] { [gate.operand, .state] }

  public func resolvedParameters(for problem: AttentionProblem) -> String { gate.rawValue }

  public func recurrence(for shape: AttentionShape) -> RecurrenceShape {
    RecurrenceShape(decay: gate.decay)
  }

  public func take(_ tokens: RecurrentTokens) { gate.take(tokens, gate: 0) }

  public func define(_ token: inout RecurrentDefinition) { gate.define(&token, gate: 0) }
}
