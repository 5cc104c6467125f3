/// Where query rows stand among the keys: query `i` has position `i + offset`.
///
/// Causal masks and windows speak of positions. When `nQ == nKV` all but `.fixed` agree.
public enum QueryOffset: Sendable, Hashable {
  /// The first query stands at the first key: offset 0.
  case topLeft
  /// The last query stands at the last key: offset `nKV - nQ`, what a key/value cache needs. Where
  /// key lengths differ, the last key in use of each batch entry.
  case bottomRight
  /// Any offset, also negative.
  case fixed(Int)
  /// One offset a batch entry, for caches of unequal length.
  case perBatch([Int])
}

/// What is to be computed: sizes, scale and mask, independent of how.
///
/// `O = softmax(softcap(scale * Q K^T) + bias) V` over the keys a query may see, with an optional
/// sink logit in the denominator; a query row that sees no key gives output 0 and LSE -inf.
public struct AttentionProblem: Sendable, Hashable {
  /// The sizes.
  public let shape: AttentionShape
  /// The factor on the scores.
  public let scale: Float
  /// Whether a query at position `p` sees only keys `j <= p`.
  public let causal: Bool
  /// How query rows are aligned with key rows.
  public let offset: QueryOffset
  /// Query rows in use, one number a batch entry; the rows after them are neither read nor
  /// written. Nil when all are in use.
  public let queryLengths: [Int]?
  /// Key rows in use, one number a batch entry; the rows after them are padding that no query
  /// sees. Nil when all are in use.
  public let keyLengths: [Int]?
  /// Leading keys that every query sees in spite of a causal mask, one number a batch entry: the
  /// prefix of a prefix language model (Raffel 2020, arXiv 1910.10683). Nil for none.
  public let prefixLengths: [Int]?
  /// `[b or 1, h or 1, nQ or 1, nKV]`: a query sees only keys whose element is not 0. Keys beyond
  /// the last column are hidden. Nil hides nothing.
  public let mask: BroadcastTensor<UInt8>?
  /// `[b or 1, h or 1, nQ or 1, nKV]`, added to the scores after the softcap; -inf hides a key, and
  /// so does a missing column. Nil adds nothing.
  public let bias: BroadcastTensor<Float>?
  /// A slope m for each query head: `-m |p - j|` is added to the score of the query at position p
  /// and key j. Nil adds nothing.
  ///
  /// Press 2022, arXiv 2108.12409.
  public let alibiSlopes: [Float]?
  /// The bound c of the scores, `c * tanh(scale * q . k / c)`; nil leaves them as they are.
  ///
  /// Gemma Team 2024, arXiv 2408.00118.
  public let softcap: Float?
  /// A logit s for each query head that takes part in the softmax without a value: `exp(s)` is
  /// added to every row's denominator, and to its LSE, unless the row sees no key. Nil adds nothing,
  /// and so does -inf.
  public let sinkLogits: [Float]?
  /// How the tensors are stored.
  public let elements: ElementTypes

  /// Creates a problem; `scale` defaults to `1 / sqrt(d)`, `offset` to `.bottomRight`.
  ///
  /// - Throws: `AttentionError` when the scale is not finite, when a list does not have one entry a
  ///   batch or a head, when a mask or a bias does not fit the shape, when queries are stored as
  ///   integers, or when an offset, a length, the softcap, a slope or a sink logit is out of range.
  public init(
    _ shape: AttentionShape, scale: Float? = nil, causal: Bool = false,
    offset: QueryOffset = .bottomRight, queryLengths: [Int]? = nil, keyLengths: [Int]? = nil,
    prefixLengths: [Int]? = nil, mask: BroadcastTensor<UInt8>? = nil,
    bias: BroadcastTensor<Float>? = nil, alibiSlopes: [Float]? = nil, softcap: Float? = nil,
    sinkLogits: [Float]? = nil, elements: ElementTypes = ElementTypes()
  ) throws(AttentionError) {
    let scale = scale ?? 1 / Float(shape.headDim).squareRoot()
    guard scale.isFinite else {
      throw AttentionError(
        .invalidArgument, argument: "scale", value: scale,
        advice: "must be a finite number; leave it out for 1/sqrt(headDim)")
    }
    try Self.check(offset, batch: shape.batch)
    try Self.check(
      queryLengths, "queryLengths", in: 0...shape.queryLength, "the query rows there are", shape)
    try Self.check(
      keyLengths, "keyLengths", in: 0...shape.keyLength, "the key rows there are", shape)
    try Self.check(
      prefixLengths, "prefixLengths", in: 0...shape.keyLength, "the key rows there are", shape)
    try mask?.check(against: shape, argument: "mask")
    try bias?.check(against: shape, argument: "bias")
    if let softcap, !(softcap > 0 && softcap.isFinite) {
      throw AttentionError(
        .invalidArgument, argument: "softcap", value: softcap,
        advice: "must be a finite number above 0; leave it out for none")
    }
    try Self.check(alibiSlopes, "alibiSlopes", "slope", heads: shape.heads)
    if let bad = alibiSlopes?.first(where: { !$0.isFinite }) {
      throw AttentionError(
        .invalidArgument, argument: "alibiSlopes", value: bad,
        advice: "must be a finite number; 0 for none")
    }
    try Self.check(sinkLogits, "sinkLogits", "logit", heads: shape.heads)
    if let bad = sinkLogits?.first(where: { !($0 < .infinity) }) {
      throw AttentionError(
        .invalidArgument, argument: "sinkLogits", value: bad,
        advice: "must be a number below infinity; -inf for none")
    }
    if !elements.query.isFloatingPoint {
      throw AttentionError(
        .invalidArgument, argument: "elements", value: elements.query.rawValue,
        advice: "queries and outputs are stored as f32, f16 or bf16; only keys and values as int8")
    }
    self.shape = shape
    self.scale = scale
    self.causal = causal
    self.offset = offset
    self.queryLengths = queryLengths
    self.keyLengths = keyLengths
    self.prefixLengths = prefixLengths
    self.mask = mask
    self.bias = bias
    self.alibiSlopes = alibiSlopes
    self.softcap = softcap
    self.sinkLogits = sinkLogits
    self.elements = elements
  }

  /// The same problem on tensors of other element types.
  ///
  /// - Throws: `AttentionError` when queries would be stored as integers.
  public func storing(_ elements: ElementTypes) throws(AttentionError) -> AttentionProblem {
    try AttentionProblem(
      shape, scale: scale, causal: causal, offset: offset, queryLengths: queryLengths,
      keyLengths: keyLengths, prefixLengths: prefixLengths, mask: mask, bias: bias,
      alibiSlopes: alibiSlopes, softcap: softcap, sinkLogits: sinkLogits, elements: elements)
  }

  /// Bytes of query, key, value and output as they are stored, with the scales of integers, all rows
  /// included.
  public var tensorBytes: Int {
    elements.query.bytes(shape.query) + elements.query.bytes(shape.output)
      + elements.keyValue.bytes(shape.key) + elements.keyValue.bytes(shape.value)
  }

  /// Bytes of the rows in use: what any implementation must move at least once.
  public var minimumBytes: Int {
    func rowBytes(_ elements: ElementType) -> Int {
      elements.rowBytes(columns: shape.headDim) + elements.rowBytes(columns: shape.valueDim)
    }
    let unusedQueries =
      queryLengths.map { $0.reduce(0) { $0 + shape.queryLength - $1 } } ?? 0
    let unusedKeys = keyLengths.map { $0.reduce(0) { $0 + shape.keyLength - $1 } } ?? 0
    return tensorBytes - unusedQueries * shape.heads * rowBytes(elements.query)
      - unusedKeys * shape.kvHeads * rowBytes(elements.keyValue)
  }

  private static func check(_ offset: QueryOffset, batch: Int) throws(AttentionError) {
    let offsets: [Int]
    switch offset {
    case .topLeft, .bottomRight: offsets = []
    case .fixed(let value): offsets = [value]
    case .perBatch(let values):
      if values.count != batch {
        throw AttentionError(
          .invalidArgument, argument: "offset", value: "\(values.count) values",
          advice: "one offset per batch entry is needed, batch is \(batch)")
      }
      offsets = values
    }
    if let bad = offsets.first(where: { abs($0.clamped) > AttentionShape.maximumLength }) {
      throw AttentionError(
        .tooLarge, argument: "offset", value: bad,
        advice: "must be within +-\(AttentionShape.maximumLength)")
    }
  }

  private static func check(
    _ lengths: [Int]?, _ argument: String, in range: ClosedRange<Int>, _ limit: String,
    _ shape: AttentionShape
  ) throws(AttentionError) {
    guard let lengths else { return }
    if lengths.count != shape.batch {
      throw AttentionError(
        .invalidArgument, argument: argument, value: "\(lengths.count) values",
        advice: "one length per batch entry is needed, batch is \(shape.batch)")
    }
    if let bad = lengths.first(where: { !range.contains($0) }) {
      throw AttentionError(
        .invalidArgument, argument: argument, value: bad,
        advice: "must be in \(range.lowerBound)...\(range.upperBound), \(limit)")
    }
  }

  private static func check(
    _ numbers: [Float]?, _ argument: String, _ what: String, heads: Int
  ) throws(AttentionError) {
    guard let numbers, numbers.count != heads else { return }
    throw AttentionError(
      .invalidArgument, argument: argument, value: "\(numbers.count) values",
      advice: "one \(what) per query head is needed, heads is \(heads)")
  }

  /// The positions and visibility of one batch entry.
  public func geometry(batch: Int) -> MaskGeometry {
    geometry(batch: batch, keyLength: keyLengths?[batch] ?? shape.keyLength)
  }

  /// The same with another number of key rows in use.
  func geometry(batch: Int, keyLength: Int) -> MaskGeometry {
    let queryLength = queryLengths?[batch] ?? shape.queryLength
    let resolved =
      switch offset {
      case .topLeft: 0
      case .bottomRight: keyLength - queryLength
      case .fixed(let value): value
      case .perBatch(let values): values[batch]
      }
    return MaskGeometry(
      queryLength: queryLength, keyLength: keyLength, offset: resolved, causal: causal,
      prefixLength: prefixLengths?[batch] ?? 0, keyCapacity: shape.keyLength)
  }
}

extension Int {
  /// Itself, but never `Int.min`, whose magnitude does not exist.
  fileprivate var clamped: Int { Swift.max(self, -Int.max) }
}

/// The mask of one sequence: which positions queries hold and what causality leaves visible.
public struct MaskGeometry: Sendable, Hashable {
  /// Query rows.
  public let queryLength: Int
  /// Key rows in use.
  public let keyLength: Int
  /// Key rows there are: parameters that follow from a length follow from this one, so that they
  /// are the same for every batch entry.
  public let keyCapacity: Int
  /// Query `i` stands at position `i + offset`.
  public let offset: Int
  /// Whether position `p` sees only keys `j <= p`.
  public let causal: Bool
  /// Leading keys that every position sees in spite of a causal mask.
  public let prefixLength: Int

  /// Creates a geometry in which all key rows are in use, unless `keyCapacity` says that there are
  /// more.
  public init(
    queryLength: Int, keyLength: Int, offset: Int, causal: Bool, prefixLength: Int = 0,
    keyCapacity: Int? = nil
  ) {
    self.queryLength = queryLength
    self.keyLength = keyLength
    self.keyCapacity = keyCapacity ?? keyLength
    self.offset = offset
    self.causal = causal
    self.prefixLength = prefixLength
  }

  /// The keys visible from `position` before any pattern restricts them.
  public func visible(from position: Int) -> Range<Int> {
    causal ? 0..<min(max(position + 1, prefixLength, 0), keyLength) : 0..<keyLength
  }
}
