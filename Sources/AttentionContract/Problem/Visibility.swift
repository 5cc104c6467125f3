import AttentionKernels
import Tensors

/// Which keys a query sees, and what is added to their scores, before a strategy's own pattern
/// restricts them further.
///
/// A finite bias, however large, is a number and hides nothing; -inf hides its key.
public struct Visibility: Sendable, Hashable {
  /// Whether a query at position `p` sees only keys `j <= p`.
  public var causal: Bool
  /// How query rows are aligned with key rows.
  public var offset: QueryOffset
  /// Query rows in use, one number a batch entry; the rows after them are neither read nor
  /// written. Nil when all are in use.
  public var queryLengths: [Int]?
  /// Key rows in use, one number a batch entry; the rows after them are padding that no query
  /// sees. Nil when all are in use.
  public var keyLengths: [Int]?
  /// Leading keys that every query sees in spite of a causal mask, one number a batch entry: the
  /// prefix of a prefix language model (Raffel 2020, arXiv 1910.10683). Nil for none.
  public var prefixLengths: [Int]?
  /// How many keys before its own position a query sees, the prefix included: a sliding window.
  /// Nil for all.
  public var windowLeft: Int?
  /// How many keys after its own position a query sees; a causal mask holds beside it. Nil for all.
  public var windowRight: Int?
  /// Positions of a chunk, counted from position 0: a query sees only keys of its own. Nil for one
  /// chunk of all.
  public var chunk: Int?
  /// `[b or 1, h or 1, nQ or 1, nKV]`: a query sees only keys whose element is not 0. Keys beyond
  /// the last column are hidden. Nil hides nothing.
  public var mask: BroadcastTensor<UInt8>?
  /// `[b or 1, h or 1, nQ or 1, nKV]`, added to the scores after the softcap; -inf hides a key, and
  /// so does a missing column. Nil adds nothing.
  public var bias: BroadcastTensor<Float>?
  /// A slope m for each query head: `-m |p - j|` is added to the score of the query at position p
  /// and key j. Nil adds nothing.
  ///
  /// Press 2022, arXiv 2108.12409.
  public var alibiSlopes: [Float]?

  /// Everything visible unless said otherwise; `offset` defaults to `.bottomRight`.
  public init(
    causal: Bool = false, offset: QueryOffset = .bottomRight, queryLengths: [Int]? = nil,
    keyLengths: [Int]? = nil, prefixLengths: [Int]? = nil, windowLeft: Int? = nil,
    windowRight: Int? = nil, chunk: Int? = nil, mask: BroadcastTensor<UInt8>? = nil,
    bias: BroadcastTensor<Float>? = nil, alibiSlopes: [Float]? = nil
  ) {
    self.causal = causal
    self.offset = offset
    self.queryLengths = queryLengths
    self.keyLengths = keyLengths
    self.prefixLengths = prefixLengths
    self.windowLeft = windowLeft
    self.windowRight = windowRight
    self.chunk = chunk
    self.mask = mask
    self.bias = bias
    self.alibiSlopes = alibiSlopes
  }

  /// Refuses what does not fit a shape or is out of range.
  func check(on shape: AttentionShape) throws(AttentionError) {
    try checkOffset(shape)
    try check(queryLengths, "queryLengths", "query rows", atMost: shape.queryLength, shape)
    try check(keyLengths, "keyLengths", "key rows", atMost: shape.keyLength, shape)
    try check(prefixLengths, "prefixLengths", "key rows", atMost: shape.keyLength, shape)
    try check(windowLeft, "windowLeft", atLeast: 0)
    try check(windowRight, "windowRight", atLeast: 0)
    try check(chunk, "chunk", atLeast: 1)
    try mask?.check(against: shape, argument: "mask")
    try bias?.check(against: shape, argument: "bias")
    try shape.expect(
      alibiSlopes?.count, "alibiSlopes", "slope", "query head", shape.heads, "heads")
    if let bad = alibiSlopes?.first(where: { !$0.isFinite }) {
      throw AttentionError(
        .invalidArgument, argument: "alibiSlopes", value: bad,
        advice: "must be a finite number; 0 for none")
    }
  }

  private func check(
    _ count: Int?, _ argument: String, atLeast least: Int
  ) throws(AttentionError) {
    guard let count, !(least...AttentionShape.maximumLength).contains(count) else { return }
    throw AttentionError(
      count < least ? .invalidArgument : .tooLarge, argument: argument, value: count,
      advice: "must be in \(least)...\(AttentionShape.maximumLength), or left out for no limit")
  }

  private func checkOffset(_ shape: AttentionShape) throws(AttentionError) {
    let offsets: [Int]
    switch offset {
    case .topLeft, .bottomRight: offsets = []
    case .fixed(let value): offsets = [value]
    case .perBatch(let values):
      try shape.expect(values.count, "offset", "offset", "batch entry", shape.batch, "batch")
      offsets = values
    }
    // Not by magnitude: that of Int.min does not exist.
    let limit = AttentionShape.maximumLength
    if let bad = offsets.first(where: { !(-limit...limit).contains($0) }) {
      throw AttentionError(
        .tooLarge, argument: "offset", value: bad, advice: "must be within +-\(limit)")
    }
  }

  private func check(
    _ lengths: [Int]?, _ argument: String, _ what: String, atMost limit: Int,
    _ shape: AttentionShape
  ) throws(AttentionError) {
    try shape.expect(lengths?.count, argument, "length", "batch entry", shape.batch, "batch")
    if let bad = lengths?.first(where: { !(0...limit).contains($0) }) {
      throw AttentionError(
        .invalidArgument, argument: argument, value: bad,
        advice: "must be in 0...\(limit), the \(what) there are")
    }
  }

  /// What some of the query heads see: `count` of them from `first` on, `step` apart.
  func forHeads(_ first: Int, step: Int, count: Int) -> Visibility {
    var part = self
    part.mask = mask?.heads(first, step: step, count: count)
    part.bias = bias?.heads(first, step: step, count: count)
    part.alibiSlopes = alibiSlopes.map { slopes in (0..<count).map { slopes[first + $0 * step] } }
    return part
  }
}

extension BroadcastTensor {
  /// Refuses a tensor that does not stand for `[b, h, nQ, nKV]`.
  fileprivate func check(against problem: AttentionShape, argument: String) throws(AttentionError) {
    let fits =
      [1, problem.batch].contains(shape.batch) && [1, problem.heads].contains(shape.heads)
      && [1, problem.queryLength].contains(shape.rows) && shape.columns <= problem.keyLength
    if fits { return }
    throw AttentionError(
      .shapeMismatch, argument: argument, value: shape,
      advice: "must be [\(problem.batch) or 1, \(problem.heads) or 1, \(problem.queryLength) or 1, "
        + "at most \(problem.keyLength)]")
  }
}
