import AttentionKernels
import Tensors

/// Sequences of unequal length that lie behind each other without padding, as cumulative offsets
/// say: the `cu_seqlens` of FlashAttention's variable-length functions.
///
/// Sequence `i` has query rows `queryOffsets[i] ..< queryOffsets[i + 1]` and key rows
/// `keyOffsets[i] ..< keyOffsets[i + 1]` of tensors `[1, h, total, d]` or `[total, h, d]`, and
/// attends to itself only. Documents packed into one training sequence, and what is elsewhere
/// written as a block-diagonal "document mask", are this with the same offsets twice: no mask is
/// stored, and no pair of two documents costs anything.
///
/// Each sequence is a batch entry of the problem: `.bottomRight` aligns its last query with its own
/// last key, and parameters that follow from a length, such as the default stride of `strided`,
/// follow from the longest one.
///
/// ```swift
/// let packed = try PackedSequences(queryOffsets: [0, 700, 701, 2000])
/// let problem = try packed.problem(heads: 8, headDim: 64, causal: true)
/// let plan = try strategy.plan(for: problem, on: team)
/// try plan.run(
///   packed.operands(query: q.view, key: k.view, value: v.view, output: o.mutableView))
/// ```
///
/// Dao 2023, arXiv 2307.08691 (variable-length batches); Krell 2021, arXiv 2107.02027 (packing).
public struct PackedSequences: Sendable {
  /// First query row of each sequence, and after the last one how many there are.
  public let queryOffsets: [Int]
  /// The same of key rows.
  public let keyOffsets: [Int]
  private let queryStarts: RowStarts
  private let keyStarts: RowStarts

  /// Sequences at cumulative offsets; key offsets default to the query's.
  ///
  /// - Throws: `AttentionError` when a list does not begin with 0, falls, is shorter than two or
  ///   exceeds `AttentionShape.maximumLength`, or when the lists differ in length.
  public init(queryOffsets: [Int], keyOffsets: [Int]? = nil) throws(AttentionError) {
    let keyOffsets = keyOffsets ?? queryOffsets
    queryStarts = try RowStarts(queryOffsets, argument: "queryOffsets")
    keyStarts = try RowStarts(keyOffsets, argument: "keyOffsets")
    if keyOffsets.count != queryOffsets.count {
      throw AttentionError(
        .invalidArgument, argument: "keyOffsets", value: "\(keyOffsets.count) values",
        advice: "one more than there are sequences is needed, as of queryOffsets, which has "
          + "\(queryOffsets.count)")
    }
    self.queryOffsets = queryOffsets
    self.keyOffsets = keyOffsets
  }

  /// Sequences, empty ones included.
  public var count: Int { queryOffsets.count - 1 }
  /// Query rows of each sequence.
  public var queryLengths: [Int] { lengths(queryOffsets) }
  /// Key rows of each sequence.
  public var keyLengths: [Int] { lengths(keyOffsets) }

  private func lengths(_ offsets: [Int]) -> [Int] { zip(offsets.dropFirst(), offsets).map(-) }

  /// The sizes of a problem on these sequences: one batch entry a sequence, as long as the longest
  /// (at least 1).
  ///
  /// - Throws: `AttentionError` as `AttentionShape` does.
  public func shape(
    heads: Int, kvHeads: Int? = nil, headDim: Int, valueDim: Int? = nil
  ) throws(AttentionError) -> AttentionShape {
    try AttentionShape(
      batch: count, heads: heads, kvHeads: kvHeads,
      queryLength: max(queryLengths.max() ?? 1, 1), keyLength: max(keyLengths.max() ?? 1, 1),
      headDim: headDim, valueDim: valueDim)
  }

  /// A problem on these sequences. For options that are not among the arguments, give `shape`,
  /// `queryLengths` and `keyLengths` to `AttentionProblem`.
  ///
  /// - Throws: `AttentionError` as `AttentionShape` and `AttentionProblem` do.
  public func problem(
    heads: Int, kvHeads: Int? = nil, headDim: Int, valueDim: Int? = nil, scale: Float? = nil,
    causal: Bool = false, offset: QueryOffset = .bottomRight,
    elements: Storage = Storage()
  ) throws(AttentionError) -> AttentionProblem {
    try AttentionProblem(
      shape(heads: heads, kvHeads: kvHeads, headDim: headDim, valueDim: valueDim),
      scoring: Scoring(scale: scale),
      visibility: Visibility(
        causal: causal, offset: offset, queryLengths: queryLengths, keyLengths: keyLengths),
      storage: elements)
  }

  /// The tensors of a run, from views of the packed tensors: `[1, h, total, d]`, in any layout and
  /// element type that has no scales a channel.
  ///
  /// - Throws: `AttentionError` of kind `shapeMismatch` naming a tensor that has more than one batch
  ///   entry, too few rows, or rows that do not lie at an even distance.
  public func operands(
    query: TensorView, key: TensorView, value: TensorView, output: MutableTensorView,
    logSumExp: MutableTensorView? = nil
  ) throws(AttentionError) -> AttentionOperands {
    var logSumExpView: MutableTensorView?
    if let logSumExp {
      logSumExpView = MutableTensorView(
        reading: try queryStarts.view(of: logSumExp.reading, argument: "logSumExp"))
    }
    return AttentionOperands(
      query: try queryStarts.view(of: query, argument: "query"),
      key: try keyStarts.view(of: key, argument: "key"),
      value: try keyStarts.view(of: value, argument: "value"),
      output: MutableTensorView(
        reading: try queryStarts.view(of: output.reading, argument: "output")),
      logSumExp: logSumExpView)
  }
}

/// Where sequences start, in memory that views can point to.
private final class RowStarts: @unchecked Sendable {
  private let starts: UnsafeMutablePointer<Int32>
  private let count: Int
  private let longest: Int
  private let total: Int

  /// - Throws: `AttentionError` naming `argument` when `offsets` are no cumulative offsets.
  init(_ offsets: [Int], argument: String) throws(AttentionError) {
    guard offsets.count >= 2, offsets[0] == 0 else {
      throw AttentionError(
        .invalidArgument, argument: argument, value: offsets,
        advice: "cumulative offsets begin with 0 and have one more value than there are sequences")
    }
    for (offset, next) in zip(offsets, offsets.dropFirst()) where next < offset {
      throw AttentionError(
        .invalidArgument, argument: argument, value: next,
        advice: "cumulative offsets must not fall, and \(offset) comes before it; give offsets, "
          + "not lengths")
    }
    total = offsets[offsets.count - 1]
    if total > AttentionShape.maximumLength {
      throw AttentionError(
        .tooLarge, argument: argument, value: total,
        advice: "must be at most \(AttentionShape.maximumLength), positions are 32-bit")
    }
    count = offsets.count - 1
    longest = zip(offsets.dropFirst(), offsets).reduce(1) { max($0, $1.0 - $1.1) }
    starts = .allocate(capacity: count)
    for i in 0..<count { starts[i] = Int32(offsets[i]) }
  }

  deinit { starts.deallocate() }

  /// The sequences as batch entries of a view of all rows.
  func view(of whole: TensorView, argument: String) throws(AttentionError) -> TensorView {
    let shape = whole.shape
    guard shape.batch == 1, shape.rows >= total else {
      throw AttentionError(
        .shapeMismatch, argument: argument, value: shape,
        advice: "a packed tensor is [1, heads, rows, columns] with at least \(total) rows")
    }
    guard case .strided = whole.placement else {
      throw AttentionError(
        .shapeMismatch, argument: argument, value: "rows in pages or packed already",
        advice: "give a strided view of all rows")
    }
    guard whole.channelScales == nil else {
      throw AttentionError(
        .invalidArgument, argument: argument, value: whole.elementType.rawValue,
        advice: "packed sequences would share scales a channel; use int8-token")
    }
    return try TensorView(
      whole.address, whole.elementType,
      shape: TensorShape(count, shape.heads, longest, shape.columns),
      strides: (0, whole.headStride, whole.rowStride), placement: .packed(starts: starts),
      owner: PackedMemory(starts: self, elements: whole.owner))
  }
}

/// What a view of packed sequences keeps alive.
private final class PackedMemory {
  private let starts: RowStarts
  private let elements: AnyObject?

  init(starts: RowStarts, elements: AnyObject?) {
    self.starts = starts
    self.elements = elements
  }
}
