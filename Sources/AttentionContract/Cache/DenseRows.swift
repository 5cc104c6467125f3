import AttentionKernels
import Tensors

/// Keys and values of all batch entries and heads with room for as many rows each: `[b, hKV,
/// capacity, d]` and `[b, hKV, capacity, dV]`.
final class DenseRows {
  private let rows: CacheRows
  /// Rows of a head.
  let capacity: Int
  private let keys: AlignedFloats
  private let values: AlignedFloats
  private let keyBytes: Int
  private let valueBytes: Int

  /// - Throws: `AttentionError` when the rows could not be addressed or memory is refused.
  init(
    capacity: Int, _ argument: String, of rows: CacheRows
  ) throws(AttentionError) {
    try rows.shape.check(rows: capacity, argument)
    let heads = rows.shape.batch * rows.shape.kvHeads
    let keys = try AlignedFloats(bytes: heads * capacity * rows.key.rowBytes)
    let values = try AlignedFloats(bytes: heads * capacity * rows.value.rowBytes)
    self.rows = rows
    self.capacity = capacity
    keyBytes = rows.key.rowBytes
    valueBytes = rows.value.rowBytes
    self.keys = keys
    self.values = values
  }

  /// Bytes held.
  var bytes: Int { 4 * (keys.count + values.count) }

  /// Views that say they have `count` rows.
  func views(rows count: Int) -> (key: TensorView, value: TensorView) {
    let (shape, scales) = (rows.shape, rows.scales)
    let (key, value) = (rows.key.stride, rows.value.stride)
    return (
      TensorView(
        unchecked: keys.base, rows.elementType, shape: shape.key(rows: count),
        strides: (shape.kvHeads * capacity * key, capacity * key, key),
        channelScales: scales.key, owner: self),
      TensorView(
        unchecked: values.base, rows.elementType, shape: shape.value(rows: count),
        strides: (shape.kvHeads * capacity * value, capacity * value, value),
        channelScales: scales.value, owner: self)
    )
  }

  /// Copies the first `rows` rows of head `head`, counted over all batch entries, to memory of the
  /// same format.
  func copy(head: Int, rows: Int, to other: DenseRows) {
    for (from, to, bytes) in [
      (keys.base, other.keys.base, keyBytes), (values.base, other.values.base, valueBytes),
    ] {
      UnsafeMutableRawPointer(to).advanced(by: head * other.capacity * bytes).copyMemory(
        from: UnsafeRawPointer(from) + head * capacity * bytes, byteCount: rows * bytes)
    }
  }
}

extension AlignedFloats {
  /// Memory for `bytes` bytes, zero-filled.
  init(bytes: Int) throws(AttentionError) {
    try self.init(count: (bytes + 3) / 4, for: "key/value cache")
  }
}
