import Attention

/// Sequences that lie behind each other in the rows that ranks share, and attend to themselves only.
///
/// Ranks deal all rows as if they were one sequence. What a rank's rows see is asked of each sequence by its
/// own numbers, so that a pattern, a causal mask or a window is that of the core's packed sequences.
package struct Documents {
  package let packed: PackedSequences
  /// One batch entry a sequence, as long as the longest.
  package let problem: AttentionProblem

  /// - Parameter whole: all sequences as one: batch 1, as many rows as the last offsets say; what it hides is
  ///   hidden within each sequence.
  /// - Throws: `AttentionError` naming what does not fit.
  package init(_ packed: PackedSequences, in whole: AttentionProblem) throws(AttentionError) {
    let (shape, visibility) = (whole.shape, whole.visibility)
    for (argument, value, isWrong, advice) in [
      ("batch", "\(shape.batch)", shape.batch != 1, "packed sequences are one batch entry; give 1"),
      (
        "queryLength", "\(shape.queryLength)", shape.queryLength != packed.queryOffsets.last,
        "must be the query rows of all packed sequences, \(packed.queryOffsets.last ?? 0)"
      ),
      (
        "keyLength", "\(shape.keyLength)", shape.keyLength != packed.keyOffsets.last,
        "must be the key rows of all packed sequences, \(packed.keyOffsets.last ?? 0)"
      ),
      (
        "queryLengths", "given", visibility.queryLengths != nil,
        "packed sequences say their lengths by offsets; leave it out"
      ),
      (
        "keyLengths", "given", visibility.keyLengths != nil,
        "packed sequences say their lengths by offsets; leave it out"
      ),
      (
        "prefixLengths", "given", visibility.prefixLengths != nil,
        "a prefix of packed sequences is not served over several ranks; leave it out"
      ),
      (
        "offset", "\(visibility.offset)", visibility.offset.isPerBatch,
        "packed sequences are one batch entry; take bottom-right, top-left or one number"
      ),
    ] where isWrong {
      throw AttentionError(.invalidArgument, argument: argument, value: value, advice: advice)
    }
    self.packed = packed
    let sizes = try packed.shape(
      heads: shape.heads, kvHeads: shape.kvHeads, headDim: shape.headDim, valueDim: shape.valueDim)
    problem = try whole.with { shape, _, visibility, _ in
      shape = sizes
      (visibility.queryLengths, visibility.keyLengths) = (packed.queryLengths, packed.keyLengths)
    }
  }

  /// The sequences that some query rows belong to, with the rows as each numbers them.
  package func parts(of rows: Range<Int>) -> [(sequence: Int, rows: Range<Int>)] {
    (0..<packed.count).compactMap { sequence in
      let first = packed.queryOffsets[sequence]
      let own = rows.clamped(to: first..<packed.queryOffsets[sequence + 1])
      return own.isEmpty ? nil : (sequence, own.lowerBound - first..<own.upperBound - first)
    }
  }

  /// Those of some keys at hand that are a sequence's, as it numbers them and from place 0 on, and where they
  /// lie among all.
  package func keys(
    _ segments: [Segment], of sequence: Int
  ) -> (keys: [Segment], places: Range<Int>) {
    let first = packed.keyOffsets[sequence]
    let own = first..<packed.keyOffsets[sequence + 1]
    var (ranges, start) = ([Range<Int>](), 0)
    for segment in segments {
      let rows = segment.rows.clamped(to: own)
      if rows.isEmpty { continue }
      // Rows of one sequence follow each other in segments that rise.
      if ranges.isEmpty { start = rows.lowerBound + segment.shift }
      ranges.append(rows.lowerBound - first..<rows.upperBound - first)
    }
    let keys = [Segment](of: ranges)
    return (keys, start..<start + keys.rowCount)
  }
}

extension Documents {
  /// One sequence as a problem of its own, with rows for as many keys as the longest has: parameters that
  /// follow from a length are those of all.
  func problem(of sequence: Int) throws(AttentionError) -> AttentionProblem {
    let (queries, keys) = (packed.queryLengths[sequence], packed.keyLengths[sequence])
    return try problem.with { shape, _, visibility, _ in
      (shape.batch, shape.queryLength) = (1, queries)
      (visibility.queryLengths, visibility.keyLengths) = (nil, [keys])
    }
  }
}

extension QueryOffset {
  fileprivate var isPerBatch: Bool {
    if case .perBatch = self { return true }
    return false
  }
}
