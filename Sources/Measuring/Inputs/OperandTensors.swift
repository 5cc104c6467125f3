import Records
import Statistics
import Units
import Attention

extension OperandDeclaration {
  /// Random valid values.
  ///
  /// The numbers of a head depend on the seed, the name, the batch entry and the head alone: other
  /// operands do not change them, and the rows of a short tensor are the first rows of a longer one.
  ///
  /// - Throws: `AttentionError` when the system refuses the memory, or the declaration draws a value
  ///   outside of its own domain.
  func random(
    for problem: AttentionShape, seed: UInt64
  ) throws(AttentionError) -> Tensor {
    let tensor = try Tensor(shape(in: problem))
    let elements = tensor.elements
    let heads = tensor.shape.heads
    let count = tensor.shape.rows * tensor.shape.columns
    for head in 0..<tensor.shape.batch * heads {
      var generator = SeededGenerator(
        seed: seed, path: [11] + name.utf8.map { Int($0) } + [head / heads, head % heads])
      for index in head * count..<(head + 1) * count {
        elements[index] = value(
          of: Double(generator.next() >> 11) * 0x1p-53, for: problem)
      }
    }
    try checkValues(tensor.view)
    return tensor
  }
}

extension [OperandDeclaration] {
  /// Random valid values of every operand that a run must have, by name: the same for the same
  /// name, shape and seed.
  ///
  /// - Throws: `AttentionError` when the system refuses the memory, or a declaration draws a value
  ///   outside of its own domain.
  public func random(
    for shape: AttentionShape, seed: UInt64
  ) throws(AttentionError) -> [String: Tensor] {
    var tensors: [String: Tensor] = [:]
    for declaration in self where !declaration.isOptional {
      tensors[declaration.name] = try declaration.random(for: shape, seed: seed)
    }
    return tensors
  }
}
