/// `[batch, heads, rows, columns]`: the sizes of one tensor.
public struct TensorShape: Sendable, Hashable, CustomStringConvertible {
  /// Sequences.
  public let batch: Int
  /// Heads of a sequence.
  public let heads: Int
  /// Rows of a head: sequence positions.
  public let rows: Int
  /// Columns of a row: the head dimension.
  public let columns: Int

  /// Creates a shape of four sizes.
  ///
  /// - Throws: `AttentionError` when a size is below 1 or the element count overflows.
  public init(
    _ batch: Int, _ heads: Int, _ rows: Int, _ columns: Int
  ) throws(AttentionError) {
    self.init(unchecked: batch, heads, rows, columns)
    var count = MemoryLayout<Float>.size
    for size in [batch, heads, rows, columns] {
      if size < 1 {
        throw AttentionError(
          .shapeMismatch, argument: "tensor shape", value: self,
          advice: "must be [batch, heads, rows, columns], each at least 1")
      }
      let (product, overflow) = count.multipliedReportingOverflow(by: size)
      if overflow || product > Int.max / 8 {
        throw AttentionError(
          .tooLarge, argument: "tensor shape", value: self,
          advice: "its bytes overflow the address space")
      }
      count = product
    }
  }

  package init(unchecked batch: Int, _ heads: Int, _ rows: Int, _ columns: Int) {
    self.batch = batch
    self.heads = heads
    self.rows = rows
    self.columns = columns
  }

  /// Elements of the tensor.
  public var count: Int { batch * heads * rows * columns }

  public var description: String { "[\(batch), \(heads), \(rows), \(columns)]" }
}
