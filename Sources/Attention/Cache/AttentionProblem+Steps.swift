extension AttentionProblem {
  /// The problem of a step: other sizes and lengths, everything else as here.
  func step(
    batch: Int, rows: Int, capacity: Int, keyLengths: [Int]?
  ) throws(AttentionError) -> AttentionProblem {
    try AttentionProblem(
      AttentionShape(
        batch: batch, heads: shape.heads, kvHeads: shape.kvHeads, queryLength: rows,
        keyLength: capacity, headDim: shape.headDim, valueDim: shape.valueDim),
      scale: scale, causal: causal, keyLengths: keyLengths,
      prefixLengths: prefixLengths.map { Array($0.prefix(batch)) }, mask: mask, bias: bias,
      alibiSlopes: alibiSlopes, softcap: softcap, sinkLogits: sinkLogits, elements: elements)
  }

  /// The same problem on tensors stored otherwise.
  func stored(as elements: ElementTypes) throws(AttentionError) -> AttentionProblem {
    try AttentionProblem(
      shape, scale: scale, causal: causal, offset: offset, queryLengths: queryLengths,
      keyLengths: keyLengths, prefixLengths: prefixLengths, mask: mask, bias: bias,
      alibiSlopes: alibiSlopes, softcap: softcap, sinkLogits: sinkLogits, elements: elements)
  }

  /// Refuses what a decoder decides itself, or what would mean nothing from step to step.
  func checkForDecoding() throws(AttentionError) {
    if offset != .bottomRight {
      throw AttentionError(
        .invalidArgument, argument: "offset", value: offset.description,
        advice: "a decoder's queries stand at the end of what it holds; leave it out")
    }
    for (name, lengths) in [("queryLengths", queryLengths), ("keyLengths", keyLengths)] {
      guard let lengths else { continue }
      throw AttentionError(
        .invalidArgument, argument: name, value: lengths,
        advice: "a decoder counts tokens itself; leave it out")
    }
    for (name, shape) in [("mask", mask?.shape), ("bias", bias?.shape)] {
      guard let shape, shape.rows > 1 else { continue }
      throw AttentionError(
        .shapeMismatch, argument: name, value: shape,
        advice: "rows of queries come and go in a decoder: give one row that serves all of them")
    }
  }

  /// Whether one batch entry has the options of another, so that one plan can serve each alone.
  var entriesAreAlike: Bool {
    mask?.shape.batch ?? 1 == 1 && bias?.shape.batch ?? 1 == 1
      && Set(prefixLengths ?? []).count <= 1
  }
}

extension QueryOffset: CustomStringConvertible {
  public var description: String {
    switch self {
    case .topLeft: "top-left"
    case .bottomRight: "bottom-right"
    case .fixed(let offset): "\(offset)"
    case .perBatch(let offsets): "\(offsets)"
    }
  }
}
