import Attention

/// How a sequence that is spread over ranks is attended to.
public enum Scheme: String, Sendable, CaseIterable {
  /// Keys and values travel: in step s rank r works on those of rank r - s, and merges what it gets with
  /// what it has through the LSE of both. Each rank sends its own keys and values R - 1 times, and keeps
  /// a few blocks of others' at a time.
  ///
  /// Liu 2023, arXiv 2310.01889 (Ring Attention); Brandon 2023, arXiv 2311.09431 (Striped Attention:
  /// balance under a causal mask).
  case ring
  /// All keys and values are gathered on all ranks first. As many bytes as the ring, none of them hidden
  /// behind work, and memory for all keys and values; one pass over the keys, nothing is merged.
  case allgather
  /// Every rank takes some of the heads of the whole sequence: rows become heads and back. The fewest
  /// bytes for softmax over all keys, and any strategy; needs as many key/value heads as ranks.
  ///
  /// Jacobs 2023, arXiv 2309.14509 (DeepSpeed Ulysses).
  case alltoall
  /// Only the keys and values that a rank's queries see travel, for patterns that see few.
  case halo
  /// A recurrence's state travels from rank to rank, a head at a time, so that ranks work on different
  /// heads at once. For the recurrent family under a causal mask.
  case states

  /// Reads what `--scheme` takes.
  ///
  /// - Throws: `AttentionError` of kind `invalidArgument`.
  public init(parsing text: String) throws(AttentionError) {
    guard let scheme = Scheme(rawValue: text) else {
      throw AttentionError(
        .invalidArgument, argument: "scheme", value: text,
        advice: "must be auto or one of "
          + Scheme.allCases.map(\.rawValue).joined(separator: ", "))
    }
    self = scheme
  }
}

/// How the rows of a sequence are dealt to the ranks.
public enum ShardOrder: String, Sendable, CaseIterable {
  /// Rank r has the r-th of R blocks.
  case contiguous
  /// Rank r has blocks r and 2R - 1 - r of 2R: under a causal mask all have as many pairs.
  ///
  /// Brandon 2023, arXiv 2311.09431, reaches the same balance with stripes; the two blocks keep rows and
  /// keys together, which tiles and windows want.
  case zigzag

  /// Reads what `--shards` takes.
  ///
  /// - Throws: `AttentionError` of kind `invalidArgument`.
  public init(parsing text: String) throws(AttentionError) {
    guard let order = ShardOrder(rawValue: text) else {
      throw AttentionError(
        .invalidArgument, argument: "shards", value: text,
        advice: "must be auto, contiguous or zigzag")
    }
    self = order
  }
}
