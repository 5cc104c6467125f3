import Attention

/// Rows of one head that lie behind each other in memory.
struct HeadRows: @unchecked Sendable {
  /// The first row; the caller keeps the memory.
  let base: UnsafeMutablePointer<Float>
  let rows: Int
  let columns: Int

  /// Bytes of the rows.
  var bytes: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: base, count: rows * columns * MemoryLayout<Float>.stride)
  }

  /// Some of them.
  func rows(_ part: Range<Int>) -> HeadRows {
    HeadRows(base: base + part.lowerBound * columns, rows: part.count, columns: columns)
  }
}

extension Tensor {
  /// The rows of a head of an fp32 tensor in the default layout.
  func headRows(_ batch: Int, _ head: Int) -> HeadRows {
    HeadRows(
      base: mutableView.base + (batch * shape.heads + head) * shape.rows * shape.columns,
      rows: shape.rows, columns: shape.columns)
  }

  /// `count` rows from `first` on of `heads` heads from `head` on, as a tensor of batch 1.
  ///
  /// - Throws: `AttentionError` as `TensorView`.
  func part(
    _ batch: Int, heads: Range<Int>, rows: Range<Int>
  ) throws(AttentionError) -> TensorView {
    try TensorView(
      UnsafePointer(headRows(batch, heads.lowerBound).rows(rows).base), .float32,
      shape: TensorShape(1, heads.count, rows.count, shape.columns),
      strides: (0, shape.rows * shape.columns, shape.columns), owner: self)
  }

  /// The same, for writing.
  func mutablePart(
    _ batch: Int, heads: Range<Int>, rows: Range<Int>
  ) throws(AttentionError) -> MutableTensorView {
    try MutableTensorView(
      headRows(batch, heads.lowerBound).rows(rows).base,
      shape: TensorShape(1, heads.count, rows.count, shape.columns),
      strides: (0, shape.rows * shape.columns, shape.columns))
  }
}
