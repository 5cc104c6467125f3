import AttentionContract
import AttentionEngines
import AttentionKernels
import CAttentionKernels
import Tensors

/// What the delta rules have in common: erase = beta k, and beta v is written.
enum DeltaRule {
  static func take(_ token: RecurrentToken, beta gate: Int) {
    guard let beta = token.gate(gate)?.pointee else { return }
    for column in 0..<token.headDim { token.erase[column] = beta * token.key[column] }
    for column in 0..<token.valueDim { token.value[column] *= beta }
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

  func map(_ row: UnsafeMutablePointer<Float>, _ headDim: Int, _ kernels: KernelTable) {
    if self == .none { return }
    let lanes = kernels.vectorLanes
    let columns = (headDim + lanes - 1) / lanes * lanes
    var sum: Float = 0
    kernels.functions.pointee.dot_rows(row, 0, 1, Int32(columns), row, &sum)
    kernels.functions.pointee.scale_row(row, Int64(headDim), 1 / (sum + 1e-6).squareRoot())
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
