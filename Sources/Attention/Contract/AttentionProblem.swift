/// Where query rows stand among the keys: query `i` has position `i + offset`.
///
/// Causal masks and windows speak of positions. When `nQ == nKV` all but `.fixed` agree.
public enum QueryOffset: Sendable, Hashable {
  /// The first query stands at the first key: offset 0.
  case topLeft
  /// The last query stands at the last key: offset `nKV - nQ`, what a key/value cache needs.
  case bottomRight
  /// Any offset, also negative.
  case fixed(Int)
  /// One offset a batch entry, for caches of unequal length.
  case perBatch([Int])
}

/// What is to be computed: sizes, scale and mask, independent of how.
///
/// `O = softmax(scale * Q K^T + mask) V` over the keys a query may see; a query row that sees no
/// key gives output 0 and LSE -inf.
public struct AttentionProblem: Sendable, Hashable {
  /// The sizes.
  public let shape: AttentionShape
  /// The factor on the scores.
  public let scale: Float
  /// Whether a query at position `p` sees only keys `j <= p`.
  public let causal: Bool
  /// How query rows are aligned with key rows.
  public let offset: QueryOffset

  /// Creates a problem; `scale` defaults to `1 / sqrt(d)`, `offset` to `.bottomRight`.
  ///
  /// - Throws: `AttentionError` when the scale is not finite, or when a per-batch offset list does
  ///   not have one entry a batch, or an offset is out of range.
  public init(
    _ shape: AttentionShape, scale: Float? = nil, causal: Bool = false,
    offset: QueryOffset = .bottomRight
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
    self.shape = shape
    self.scale = scale
    self.causal = causal
    self.offset = offset
  }

  /// The positions and visibility of one batch entry.
  public func geometry(batch: Int) -> MaskGeometry {
    let resolved =
      switch offset {
      case .topLeft: 0
      case .bottomRight: shape.keyLength - shape.queryLength
      case .fixed(let value): value
      case .perBatch(let values): values[batch]
      }
    return MaskGeometry(
      queryLength: shape.queryLength, keyLength: shape.keyLength, offset: resolved, causal: causal)
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
  /// Key rows.
  public let keyLength: Int
  /// Query `i` stands at position `i + offset`.
  public let offset: Int
  /// Whether position `p` sees only keys `j <= p`.
  public let causal: Bool

  /// Creates a geometry.
  public init(queryLength: Int, keyLength: Int, offset: Int, causal: Bool) {
    self.queryLength = queryLength
    self.keyLength = keyLength
    self.offset = offset
    self.causal = causal
  }

  /// The keys visible from `position` before any pattern restricts them.
  public func visible(from position: Int) -> Range<Int> {
    causal ? 0..<min(max(position + 1, 0), keyLength) : 0..<keyLength
  }
}
