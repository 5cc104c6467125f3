import AttentionKernels
import Tensors

/// The sizes of an attention problem.
///
/// Query `[b, h, nQ, d]`, key `[b, hKV, nKV, d]`, value `[b, hKV, nKV, dV]`, output
/// `[b, h, nQ, dV]`. Query head `i` reads key/value head `i / (h / hKV)`: multi-head attention when
/// `hKV == h`, grouped-query when `hKV` divides `h`, multi-query when `hKV == 1`.
public struct AttentionShape: Sendable, Hashable {
  /// `b`, sequences in the batch.
  public var batch: Int
  /// `h`, query heads.
  public var heads: Int
  /// `hKV`, key/value heads.
  public var kvHeads: Int
  /// `nQ`, query length.
  public var queryLength: Int
  /// `nKV`, key length.
  public var keyLength: Int
  /// `d`, dimension of queries and keys.
  public var headDim: Int
  /// `dV`, dimension of values and outputs.
  public var valueDim: Int

  /// Query heads that share one key/value head.
  public var groupSize: Int { heads / kvHeads }

  /// The largest sequence length or dimension served: positions are 32-bit in the kernels.
  public static let maximumLength = Int(Int32.max) - 4096

  /// Creates a shape; `kvHeads` defaults to `heads`, `keyLength` to `queryLength`, `valueDim` to
  /// `headDim`.
  ///
  /// - Throws: `AttentionError` when a size is below 1, when `heads` is no multiple of `kvHeads`, or
  ///   when a tensor of this shape could not be addressed.
  public init(
    batch: Int = 1, heads: Int, kvHeads: Int? = nil, queryLength: Int, keyLength: Int? = nil,
    headDim: Int, valueDim: Int? = nil
  ) throws(AttentionError) {
    self.batch = batch
    self.heads = heads
    self.kvHeads = kvHeads ?? heads
    self.queryLength = queryLength
    self.keyLength = keyLength ?? queryLength
    self.headDim = headDim
    self.valueDim = valueDim ?? headDim
    try check()
  }

  /// Refuses sizes that no problem has.
  func check() throws(AttentionError) {
    for (name, size) in [
      ("batch", batch), ("heads", heads), ("kvHeads", kvHeads), ("queryLength", queryLength),
      ("keyLength", keyLength), ("headDim", headDim), ("valueDim", valueDim),
    ] {
      if size < 1 {
        throw AttentionError(
          .invalidArgument, argument: name, value: size, advice: "must be at least 1")
      }
      if size > Self.maximumLength {
        throw AttentionError(
          .tooLarge, argument: name, value: size,
          advice: "must be at most \(Self.maximumLength), positions are 32-bit")
      }
    }
    if heads % kvHeads != 0 {
      throw AttentionError(
        .invalidArgument, argument: "heads", value: heads,
        advice: "must be a multiple of kvHeads (\(kvHeads)): "
          + "query head i reads key/value head i / (heads / kvHeads)")
    }
    _ = try TensorShape(batch, heads, queryLength, max(headDim, valueDim))
    _ = try TensorShape(batch, kvHeads, keyLength, max(headDim, valueDim))
    try checkCounts()
  }

  /// Refuses sizes whose work, in pairs and floating-point operations, or whose largest workspace,
  /// `nQ nKV` or `d dV` floats a head, cannot be counted in 64 bits.
  private func checkCounts() throws(AttentionError) {
    let width = headDim + valueDim
    for factors in [
      [8, batch, heads, queryLength, keyLength, width],
      [8, batch, heads, queryLength, headDim, valueDim + 1],
      [8, batch, heads, keyLength, headDim, valueDim + 1],
      // One state of linear attention for each of the most workers there can be.
      [1 << 16, headDim, valueDim + 64],
    ] {
      var product = 1
      for factor in factors {
        let (next, overflow) = product.multipliedReportingOverflow(by: factor)
        if overflow {
          throw AttentionError(
            .tooLarge, argument: "shape", value: "query \(query), key \(key), value \(value)",
            advice: "its floating-point operations exceed 2^63; use shorter sequences")
        }
        product = next
      }
    }
  }

  /// `[b, h, nQ, d]`.
  public var query: TensorShape {
    TensorShape(unchecked: batch, heads, queryLength, headDim)
  }
  /// `[b, hKV, nKV, d]`.
  public var key: TensorShape {
    TensorShape(unchecked: batch, kvHeads, keyLength, headDim)
  }
  /// `[b, hKV, nKV, dV]`.
  public var value: TensorShape {
    TensorShape(unchecked: batch, kvHeads, keyLength, valueDim)
  }
  /// `[b, h, nQ, dV]`.
  public var output: TensorShape {
    TensorShape(unchecked: batch, heads, queryLength, valueDim)
  }

  /// `[b, h, nQ, 1]`, one number a query row.
  public var logSumExp: TensorShape {
    TensorShape(unchecked: batch, heads, queryLength, 1)
  }
}

extension AttentionShape {
  /// Refuses a list that has not one value an axis entry; nil has none to refuse.
  func expect(
    _ count: Int?, _ argument: String, _ value: String, _ entry: String, _ size: Int, _ axis: String
  ) throws(AttentionError) {
    guard let count, count != size else { return }
    throw AttentionError(
      .invalidArgument, argument: argument, value: "\(count) values",
      advice: "one \(value) per \(entry) is needed, \(axis) is \(size)")
  }
}
