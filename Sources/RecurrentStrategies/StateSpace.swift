import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// The state-space recurrence of Mamba-2.
///
/// With C the queries, B the keys, x the values: S_t = exp(A dt_t) S_{t-1} + B_t (dt_t x_t)^T,
/// y_t = scale C_t^T S_t + D x_t, with operands `dt` (after the softplus), `a` (A, at most 0) and `skip` (D). Mamba-2
/// has no scale: give 1. Without a causal mask a query reads the state after all tokens and has no token of its own,
/// so no D x either. A group's C and B are those of all its heads: views whose heads lie at a
/// stride of 0 share them without a copy.
///
/// Dao and Gu 2024, arXiv 2405.21060.
public struct StateSpace: RecurrentStrategy {
  private static let dt = OperandDeclaration(
    "dt", axes: [.batch, .kvHeads, .keyLength], meaning: "the step, after the softplus",
    domain: 0...Float.greatestFiniteMagnitude
  ) { uniform in Float(0.001 + 0.1 * uniform) }

  private static let a = OperandDeclaration(
    "a", axes: [.size(1), .kvHeads], meaning: "the rate of decay of a head",
    domain: -Float.greatestFiniteMagnitude...0
  ) { uniform in Float(-1 - 15 * uniform) }

  private static let skip = OperandDeclaration(
    "skip", axes: [.size(1), .kvHeads], meaning: "the share of its own value in a token's output",
    domain: -Float.greatestFiniteMagnitude...Float.greatestFiniteMagnitude, isOptional: true
  ) { uniform in Float(2 * uniform) }

  public static let family = StrategyFamily(
    "ssd", operatorClass: .different, summary: "the state-space recurrence of Mamba-2",
    source: "Dao and Gu 2024, arXiv 2405.21060", operands: [dt, a, skip, .state],
    isSweptByDefault: false
  ) { _ throws(AttentionError) in StateSpace() }

  init() {}

  public func recurrence(for shape: AttentionShape) -> RecurrenceShape {
    RecurrenceShape(decay: .perHead, adds: true)
  }

  public func take(_ token: RecurrentToken) {
    guard let dt = token.gate(0)?.pointee, let a = token.gate(1)?.pointee else { return }
    token.decay[0] = a * dt
    let skip = token.gate(2)?.pointee ?? 0
    for column in 0..<token.valueDim {
      token.addition[column] = skip * token.value[column]
      token.value[column] *= dt
    }
  }

  public func define(_ token: inout RecurrentDefinition) {
    let (dt, a) = (token.gates[0]?.first ?? 0, token.gates[1]?.first ?? 0)
    token.decay[0] = a * dt
    let skip = token.gates[2]?.first ?? 0
    for i in token.value.indices {
      token.addition[i] = skip * token.value[i]
      token.value[i] *= dt
    }
  }
}
