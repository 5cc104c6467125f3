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

  /// Copies the decays of tokens.
  func take(_ tokens: RecurrentTokens, gate: Int) {
    guard let (decays, stride) = tokens.gate(gate) else { return }
    switch self {
    case .head:
      for t in 0..<tokens.count { tokens.decays[t * tokens.decayStride] = decays[t * stride] }
    case .channel where stride == tokens.headDim && stride == tokens.decayStride:
      tokens.decays.update(from: decays, count: tokens.count * stride)
    case .channel:
      for t in 0..<tokens.count {
        (tokens.decays + t * tokens.decayStride).update(
          from: decays + t * stride, count: tokens.headDim)
      }
    }
  }

  func define(_ token: inout RecurrentDefinition, gate: Int) {
    if let decay = token.gates[gate] { token.decay = decay }
  }
}

extension StrategyParameter {
  static let decay = StrategyParameter(
    "decay", "what a decay is for: head (default), [b, hKV, nKV], or channel, [b, hKV, nKV, d]")
}
