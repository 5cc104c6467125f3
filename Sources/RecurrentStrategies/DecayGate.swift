import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// For what a decay counts.
enum DecayGate: String, CaseIterable {
  case head
  case channel

  var decay: RecurrenceShape.Decay { self == .head ? .perHead : .perChannel }
  var operand: OperandDeclaration { .decay(perChannel: self == .channel) }

  /// Copies the decay of a token.
  func take(_ token: RecurrentToken, gate: Int) {
    guard let decay = token.gate(gate) else { return }
    token.decay.update(from: decay, count: self == .head ? 1 : token.headDim)
  }

  func define(_ token: inout RecurrentDefinition, gate: Int) {
    if let decay = token.gates[gate] { token.decay = decay }
  }
}

extension StrategyParameter {
  static let decay = StrategyParameter(
    "decay", "what a decay is for: head (default), [b, hKV, nKV], or channel, [b, hKV, nKV, d]")
}
