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
/// `O = softmax(softcap(scale * Q K^T)) V` over the keys a query may see, with an optional sink
/// logit in the denominator; a query row that sees no key gives output 0 and LSE -inf.
public struct AttentionProblem: Sendable, Hashable {
  /// The sizes.
  public let shape: AttentionShape
  /// The factor on the scores.
  public let scale: Float
  /// Whether a query at position `p` sees only keys `j <= p`.
  public let causal: Bool
  /// How query rows are aligned with key rows.
  public let offset: QueryOffset
  /// Key rows in use, one number a batch entry; the rows after them are padding that no query
  /// sees. Nil when all are in use.
  public let keyLengths: [Int]?
  /// The bound c of the scores, `c * tanh(scale * q . k / c)`; nil leaves them as they are.
  ///
  /// Gemma Team 2024, arXiv 2408.00118.
  public let softcap: Float?
  /// A logit s for each query head that takes part in the softmax without a value: `exp(s)` is
  /// added to every row's denominator, and to its LSE, unless the row sees no key. Nil adds nothing,
  /// and so does -inf.
  public let sinkLogits: [Float]?

  /// Creates a problem; `scale` defaults to `1 / sqrt(d)`, `offset` to `.bottomRight`.
  ///
  /// - Throws: `AttentionError` when the scale is not finite, when a list does not have one entry a
  ///   batch or a head, or when an offset, a key length, the softcap or a sink logit is out of
  ///   range.
  public init(
    _ shape: AttentionShape, scale: Float? = nil, causal: Bool = false,
    offset: QueryOffset = .bottomRight, keyLengths: [Int]? = nil, softcap: Float? = nil,
    sinkLogits: [Float]? = nil
  ) throws(AttentionError) {
    let scale = scale ?? 1 / Float(shape.headDim).squareRoot()
    guard scale.isFinite else {
      throw AttentionError(
        .invalidArgument, argument: "scale", value: scale,
        advice: "must be a finite number; leave it out for 1/sqrt(headDim)")
    }
    let offsets: [Int]
    switch offset {
    case .topLeft, .bottomRight: offsets = []
    case .fixed(let value): offsets = [value]
    case .perBatch(let values):
      if values.count != shape.batch {
        throw AttentionError(
          .invalidArgument, argument: "offset", value: "\(values.count) values",
          advice: "one offset per batch entry is needed, batch is \(shape.batch)")
      }
      offsets = values
    }
    if let bad = offsets.first(where: { abs($0.clamped) > AttentionShape.maximumLength }) {
      throw AttentionError(
        .tooLarge, argument: "offset", value: bad,
        advice: "must be within +-\(AttentionShape.maximumLength)")
    }
    if let keyLengths {
      if keyLengths.count != shape.batch {
        throw AttentionError(
          .invalidArgument, argument: "keyLengths", value: "\(keyLengths.count) values",
          advice: "one length per batch entry is needed, batch is \(shape.batch)")
      }
      if let bad = keyLengths.first(where: { !(0...shape.keyLength).contains($0) }) {
        throw AttentionError(
          .invalidArgument, argument: "keyLengths", value: bad,
          advice: "must be in 0...\(shape.keyLength), the key rows there are")
      }
    }
    if let softcap, !(softcap > 0 && softcap.isFinite) {
      throw AttentionError(
        .invalidArgument, argument: "softcap", value: softcap,
        advice: "must be a finite number above 0; leave it out for none")
    }
    if let sinkLogits {
      if sinkLogits.count != shape.heads {
        throw AttentionError(
          .invalidArgument, argument: "sinkLogits", value: "\(sinkLogits.count) values",
          advice: "one logit per query head is needed, heads is \(shape.heads)")
      }
      if let bad = sinkLogits.first(where: { !($0 < .infinity) }) {
        throw AttentionError(
          .invalidArgument, argument: "sinkLogits", value: bad,
          advice: "must be a number below infinity; -inf for none")
      }
    }
    self.shape = shape
    self.scale = scale
    self.causal = causal
    self.offset = offset
    self.keyLengths = keyLengths
    self.softcap = softcap
    self.sinkLogits = sinkLogits
  }

  /// The positions and visibility of one batch entry.
  public func geometry(batch: Int) -> MaskGeometry {
    let keyLength = keyLengths?[batch] ?? shape.keyLength
    let resolved =
      switch offset {
      case .topLeft: 0
      case .bottomRight: keyLength - shape.queryLength
      case .fixed(let value): value
      case .perBatch(let values): values[batch]
      }
    return MaskGeometry(
      queryLength: shape.queryLength, keyLength: keyLength, offset: resolved, causal: causal,
      keyCapacity: shape.keyLength)
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

  /// Creates a geometry in which all key rows are in use, unless `keyCapacity` says that there are
  /// more.
  public init(
    queryLength: Int, keyLength: Int, offset: Int, causal: Bool, keyCapacity: Int? = nil
  ) {
    self.queryLength = queryLength
    self.keyLength = keyLength
    self.keyCapacity = keyCapacity ?? keyLength
    self.offset = offset
    self.causal = causal
  }

  /// The keys visible from `position` before any pattern restricts them.
  public func visible(from position: Int) -> Range<Int> {
    causal ? 0..<min(max(position + 1, 0), keyLength) : 0..<keyLength
  }
}
