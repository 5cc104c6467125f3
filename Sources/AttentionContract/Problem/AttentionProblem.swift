import AttentionKernels
import Tensors

/// What is to be computed, independent of how: four values.
///
/// `O = softmax(softcap(scale * Q K^T) + bias) V` over the keys a query may see, with an optional
/// sink logit in the denominator; a query row that sees no key gives output 0 and LSE -inf.
public struct AttentionProblem: Sendable, Hashable {
  /// The sizes.
  public let shape: AttentionShape
  /// How scores become weights.
  public let scoring: Scoring
  /// Which keys a query sees.
  public let visibility: Visibility
  /// How the tensors are stored.
  public let storage: Storage

  /// Creates a problem.
  ///
  /// - Throws: `AttentionError` that names the field that is out of range or does not fit the shape.
  public init(
    _ shape: AttentionShape, scoring: Scoring = Scoring(), visibility: Visibility = Visibility(),
    storage: Storage = Storage()
  ) throws(AttentionError) {
    try shape.check()
    try scoring.check(on: shape)
    try visibility.check(on: shape)
    try storage.check()
    self.shape = shape
    self.scoring = scoring
    self.visibility = visibility
    self.storage = storage
  }

  /// The problem that `change` makes of the four values of this one: what it leaves alone is kept.
  ///
  /// - Throws: `AttentionError` as `init` does.
  public func with(
    _ change: (
      inout AttentionShape, inout Scoring, inout Visibility, inout Storage
    ) -> Void
  ) throws(AttentionError) -> AttentionProblem {
    var (shape, scoring, visibility, storage) = (shape, scoring, visibility, storage)
    change(&shape, &scoring, &visibility, &storage)
    return try AttentionProblem(
      shape, scoring: scoring, visibility: visibility, storage: storage)
  }

  /// The problem of one query head with its key/value head.
  ///
  /// - Throws: `AttentionError` as `init` does.
  public func forHead(_ head: Int) throws(AttentionError) -> AttentionProblem {
    try forHeads(head, step: 1, count: 1, kvHeads: 1)
  }

  /// The problem of query heads `first`, `first + step`, ... and their key/value heads.
  package func forHeads(
    _ first: Int, step: Int, count: Int, kvHeads: Int
  ) throws(AttentionError) -> AttentionProblem {
    try with { shape, scoring, visibility, _ in
      (shape.heads, shape.kvHeads) = (count, kvHeads)
      scoring = scoring.forHeads(first, step: step, count: count)
      visibility = visibility.forHeads(first, step: step, count: count)
    }
  }

  /// The factor on the scores: `scoring.scale`, or `1 / sqrt(d)`.
  public var scale: Float { scoring.scale ?? 1 / Float(shape.headDim).squareRoot() }

  /// The same problem on tensors stored otherwise.
  ///
  /// - Throws: `AttentionError` when queries would be stored as integers.
  public func storing(_ storage: Storage) throws(AttentionError) -> AttentionProblem {
    try AttentionProblem(shape, scoring: scoring, visibility: visibility, storage: storage)
  }

  /// Bytes of query, key, value and output as they are stored, with the scales of integers, all rows
  /// included.
  public var tensorBytes: Int {
    storage.query.bytes(shape.query) + storage.output.bytes(shape.output)
      + storage.keyValue.bytes(shape.key) + storage.keyValue.bytes(shape.value)
  }

  /// Bytes of the rows in use: what any implementation must move at least once.
  public var minimumBytes: Int {
    let queryRow =
      storage.query.rowBytes(columns: shape.headDim)
      + storage.output.rowBytes(columns: shape.valueDim)
    let keyRow =
      storage.keyValue.rowBytes(columns: shape.headDim)
      + storage.keyValue.rowBytes(columns: shape.valueDim)
    func unused(_ lengths: [Int]?, of length: Int) -> Int {
      lengths.map { $0.reduce(0) { $0 + length - $1 } } ?? 0
    }
    return tensorBytes
      - unused(visibility.queryLengths, of: shape.queryLength) * shape.heads * queryRow
      - unused(visibility.keyLengths, of: shape.keyLength) * shape.kvHeads * keyRow
  }

  /// The positions and visibility of one batch entry.
  public func geometry(batch: Int) -> MaskGeometry {
    geometry(batch: batch, keyLength: visibility.keyLengths?[batch] ?? shape.keyLength)
  }

  /// The same with another number of key rows in use.
  package func geometry(batch: Int, keyLength: Int) -> MaskGeometry {
    let queryLength = visibility.queryLengths?[batch] ?? shape.queryLength
    let offset =
      switch visibility.offset {
      case .topLeft: 0
      case .bottomRight: keyLength - queryLength
      case .fixed(let value): value
      case .perBatch(let values): values[batch]
      }
    return MaskGeometry(
      queryLength: queryLength, keyLength: keyLength, offset: offset, causal: visibility.causal,
      prefixLength: visibility.prefixLengths?[batch] ?? 0, windowLeft: visibility.windowLeft,
      windowRight: visibility.windowRight, chunk: visibility.chunk, keyCapacity: shape.keyLength)
  }
}
