import AttentionKernels
import Tensors

/// The sizes of a key/value cache that do not grow: keys `[b, hKV, rows, d]`, values
/// `[b, hKV, rows, dV]`.
public struct CacheShape: Sendable, Hashable {
  /// `b`, sequences.
  public let batch: Int
  /// `hKV`, key/value heads.
  public let kvHeads: Int
  /// `d`, dimension of keys.
  public let headDim: Int
  /// `dV`, dimension of values.
  public let valueDim: Int

  /// Creates a shape; `valueDim` defaults to `headDim`.
  ///
  /// - Throws: `AttentionError` when a size is below 1 or too large to count bytes with.
  public init(
    batch: Int = 1, kvHeads: Int, headDim: Int, valueDim: Int? = nil
  ) throws(AttentionError) {
    // The sizes obey the rules of a problem with one key.
    self.init(
      try AttentionShape(
        batch: batch, heads: kvHeads, queryLength: 1, headDim: headDim, valueDim: valueDim))
  }

  /// The shape of a cache for a problem's keys and values.
  public init(_ problem: AttentionShape) {
    batch = problem.batch
    kvHeads = problem.kvHeads
    headDim = problem.headDim
    valueDim = problem.valueDim
  }

  /// Bytes that the key and the value of one token of one sequence take over all heads.
  public func bytesPerToken(_ elementType: ElementType) -> Int {
    kvHeads * (elementType.rowBytes(columns: headDim) + elementType.rowBytes(columns: valueDim))
  }

  /// The shape of the key tensor of `rows` rows.
  func key(rows: Int) -> TensorShape { TensorShape(unchecked: batch, kvHeads, rows, headDim) }

  /// The shape of the value tensor of `rows` rows.
  func value(rows: Int) -> TensorShape { TensorShape(unchecked: batch, kvHeads, rows, valueDim) }

  /// Refuses a number of rows for which there are no 32-bit positions or addresses.
  func check(rows: Int, _ argument: String) throws(AttentionError) {
    guard (1...AttentionShape.maximumLength).contains(rows) else {
      throw AttentionError(
        rows < 1 ? .invalidArgument : .tooLarge, argument: argument, value: rows,
        advice: "must be in 1...\(AttentionShape.maximumLength)")
    }
    _ = try AttentionShape(
      batch: batch, heads: kvHeads, queryLength: 1, keyLength: rows, headDim: headDim,
      valueDim: valueDim)
  }
}
