import Attention

/// A recurrence as somebody outside the package would add it, as Guides/AddingAStrategy.md has it: along the
/// key's channels it erases, in the value's columns it writes, by gates of their own.
///
/// S_t = S_{t-1} + k_t (write_t * v_t - S_{t-1}^T (erase_t * k_t))^T, o_t = scale q_t^T S_t, q and k of length 1.
struct EraseWriteAttention: RecurrentStrategy {
  static let erase = OperandDeclaration(
    "erase", axes: [.batch, .kvHeads, .keyLength, .headDim],
    meaning: "how much a channel of the key erases", domain: 0...1
  ) { uniform in Float(uniform) }
  static let write = OperandDeclaration(
    "write", axes: [.batch, .kvHeads, .keyLength, .valueDim],
    meaning: "how much of a value's column is written", domain: 0...1
  ) { uniform in Float(uniform) }

  static let family = StrategyFamily(
    "erasewrite", operatorClass: .different,
    summary: "a recurrence that erases and writes by gates",
    source: "the example in Guides/AddingAStrategy.md", operands: [erase, write]
  ) { _ throws(AttentionError) in EraseWriteAttention() }

  func recurrence(for shape: AttentionShape) -> RecurrenceShape { RecurrenceShape(erases: true) }

  func mapFeatures(_ row: UnsafeMutablePointer<Float>, headDim: Int, kernels: KernelTable) {
    let length = (0..<headDim).reduce(Float(1e-6)) { $0 + row[$1] * row[$1] }.squareRoot()
    for i in 0..<headDim { row[i] /= length }
  }

  func take(_ token: RecurrentToken) {
    guard let erase = token.gate(0), let write = token.gate(1) else { return }
    for i in 0..<token.headDim { token.erase[i] = erase[i] * token.key[i] }
    for i in 0..<token.valueDim { token.value[i] *= write[i] }
  }

  func defineFeatures(_ row: inout [Double]) {
    let length = row.reduce(1e-6) { $0 + $1 * $1 }.squareRoot()
    for i in row.indices { row[i] /= length }
  }

  func define(_ token: inout RecurrentDefinition) {
    guard let erase = token.gates[0], let write = token.gates[1] else { return }
    for i in token.key.indices { token.erase[i] = erase[i] * token.key[i] }
    for i in token.value.indices { token.value[i] *= write[i] }
  }
}
