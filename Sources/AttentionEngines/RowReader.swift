import AttentionKernels
import CAttentionKernels
import Tensors

/// Reads rows of a head as fp32, some at a time.
struct RowReader {
  /// `[count]`, and `[count][columns]` of the widest rows that are read.
  private let rows: RowPointers
  private let copies: UnsafeMutablePointer<Float>
  private let count: Int
  private let functions: UnsafePointer<attn_kernels>

  /// - Parameter count: rows that are read at a time.
  init(
    _ rows: RowPointers, copies: UnsafeMutablePointer<Float>, count: Int,
    _ functions: UnsafePointer<attn_kernels>
  ) {
    (self.rows, self.copies, self.count) = (rows, copies, count)
    self.functions = functions
  }

  /// Calls `body` with one row after the other.
  func forEach(
    _ range: Range<Int>, of tensor: TensorView, _ batch: Int, _ head: Int,
    _ body: (UnsafePointer<Float>) -> Void
  ) {
    let columns = tensor.shape.columns
    for first in stride(from: range.lowerBound, to: range.upperBound, by: count) {
      let part = first..<min(first + count, range.upperBound)
      for (index, row) in part.enumerated() {
        rows[index] = tensor.rowAddress(batch, head, row)
      }
      rows.widen(
        count: part.count, columns: columns, storage: tensor.elementType.storage,
        columnScales: tensor.channelScales(batch, head), into: copies, functions)
      for row in 0..<part.count { body(copies + row * columns) }
    }
  }

  /// Sums rows in fp32 and divides by their number.
  func average(
    _ range: Range<Int>, of tensor: TensorView, _ batch: Int, _ head: Int,
    into out: UnsafeMutablePointer<Float>
  ) {
    let columns = tensor.shape.columns
    out.update(repeating: 0, count: columns)
    forEach(range, of: tensor, batch, head) { row in
      for column in 0..<columns { out[column] += row[column] }
    }
    functions.pointee.scale_row(out, Int64(columns), 1 / Float(max(range.count, 1)))
  }
}
