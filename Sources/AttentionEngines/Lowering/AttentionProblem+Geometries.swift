import AttentionContract

extension AttentionProblem {
  /// `[b]`, by the key lengths that the problem states.
  var geometries: [MaskGeometry] { (0..<shape.batch).map { geometry(batch: $0) } }

  /// That of a batch entry in a run, which may bring a key length of its own.
  func geometry(batch: Int, in operands: AttentionOperands) -> MaskGeometry {
    guard let keyLengths = operands.keyLengths else { return geometry(batch: batch) }
    return geometry(batch: batch, keyLength: keyLengths[batch])
  }
}
