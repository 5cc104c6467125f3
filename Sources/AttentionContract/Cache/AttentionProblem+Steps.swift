import AttentionKernels
import Tensors

extension AttentionProblem {
  /// The problem of a step: other sizes and lengths, everything else as here.
  func step(
    batch: Int, rows: Int, capacity: Int, keyLengths: [Int]?
  ) throws(AttentionError) -> AttentionProblem {
    try with { shape, _, visibility, _ in
      (shape.batch, shape.queryLength, shape.keyLength) = (batch, rows, capacity)
      visibility.offset = .bottomRight
      (visibility.queryLengths, visibility.keyLengths) = (nil, keyLengths)
      visibility.prefixLengths = visibility.prefixLengths.map { Array($0.prefix(batch)) }
    }
  }

  /// Refuses what a decoder decides itself, or what would mean nothing from step to step.
  package func checkForDecoding() throws(AttentionError) {
    if visibility.offset != .bottomRight {
      throw AttentionError(
        .invalidArgument, argument: "offset", value: visibility.offset.description,
        advice: "a decoder's queries stand at the end of what it holds; leave it out")
    }
    for (name, lengths) in [
      ("queryLengths", visibility.queryLengths), ("keyLengths", visibility.keyLengths),
    ] {
      guard let lengths else { continue }
      throw AttentionError(
        .invalidArgument, argument: name, value: lengths,
        advice: "a decoder counts tokens itself; leave it out")
    }
    for (name, shape) in [("mask", visibility.mask?.shape), ("bias", visibility.bias?.shape)] {
      guard let shape, shape.rows > 1 else { continue }
      throw AttentionError(
        .shapeMismatch, argument: name, value: shape,
        advice: "rows of queries come and go in a decoder: give one row that serves all of them")
    }
  }

  /// Whether one batch entry has the options of another, so that one plan can serve each alone.
  var entriesAreAlike: Bool {
    visibility.mask?.shape.batch ?? 1 == 1 && visibility.bias?.shape.batch ?? 1 == 1
      && Set(visibility.prefixLengths ?? []).count <= 1
  }
}
