import AttentionContract
import AttentionEngines
import AttentionKernels
import CAttentionKernels
import Tensors

/// What the delta rules have in common: erase = beta k, and beta v is written.
enum DeltaRule {
  static func take(_ tokens: RecurrentTokens, beta gate: Int) {
    guard let (betas, stride) = tokens.gate(gate) else { return }
    let scale = tokens.kernels.functions.pointee.scale_rows
    let (keys, values) = (tokens.keyStride, tokens.valueStride)
    scale(
      tokens.keys, Int64(keys), Int32(tokens.count), Int32(keys), betas, Int64(stride), 1,
      tokens.erases)
    scale(
      tokens.values, Int64(values), Int32(tokens.count), Int32(values), betas, Int64(stride), 1,
      tokens.values)
  }

  static func define(_ token: inout RecurrentDefinition, beta gate: Int) {
    let beta = token.gates[gate]?.first ?? 0
    for i in token.erase.indices { token.erase[i] = beta * token.key[i] }
    for i in token.value.indices { token.value[i] *= beta }
  }
}

/// Whether queries and keys are brought to length 1: x / sqrt(|x|^2 + 1e-6).
enum UnitLength: String, CaseIterable {
  case none
  case l2

  var text: String { self == .none ? "" : "normalise: \(rawValue)" }

  func map(
    _ rows: UnsafeMutablePointer<Float>, count: Int, stride: Int, _ kernels: KernelTable
  ) {
    if self == .none { return }
    kernels.functions.pointee.unit_rows(rows, Int64(stride), Int32(count), Int32(stride), 1e-6)
  }

  func define(_ row: inout [Double]) {
    if self == .none { return }
    let length = (row.reduce(0) { $0 + $1 * $1 } + 1e-6).squareRoot()
    for i in row.indices { row[i] /= length }
  }
}

extension StrategyParameter {
  static let normalise = StrategyParameter(
    "normalise", "queries and keys: none (default), or l2, to a length of 1")
}
