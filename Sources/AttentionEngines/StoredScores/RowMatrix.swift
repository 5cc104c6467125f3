import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// fp32 rows at an even distance, as BLAS takes them.
struct RowMatrix {
  let base: UnsafeMutablePointer<Float>
  /// Floats from one row to the next.
  let stride: Int

  init(_ base: UnsafeMutablePointer<Float>, stride: Int) {
    self.base = base
    self.stride = stride
  }

  /// Rows of a head from `row` on, in place. Where a tensor has only one row its stride means
  /// nothing and may be anything.
  init(_ tensor: TensorView, _ batch: Int, _ head: Int, from row: Int = 0) {
    base = UnsafeMutablePointer(mutating: tensor.row(batch, head, row))
    stride = tensor.shape.rows == 1 ? tensor.shape.columns : tensor.rowStride
  }

  @inline(__always)
  func row(_ index: Int) -> UnsafeMutablePointer<Float> { base + index * stride }

  var leadingDimension: Int32 { Int32(stride) }
}

extension TensorView {
  /// Brings rows of a head to fp32 at `out`, densely.
  func widen(
    _ rows: Range<Int>, _ batch: Int, _ head: Int, into out: UnsafeMutablePointer<Float>,
    _ functions: UnsafePointer<attn_kernels>
  ) {
    let scales = channelScales(batch, head)
    for row in rows {
      var address = rowAddress(batch, head, row)
      functions.pointee.widen(
        &address, 1, Int32(shape.columns), elementType.storage, scales,
        out + (row - rows.lowerBound) * shape.columns)
    }
  }
}

extension RowMatrix {
  /// Rounds its first rows into rows of a head from `row` on.
  func narrow(
    count: Int, into tensor: MutableTensorView, _ batch: Int, _ head: Int, from row: Int,
    _ functions: UnsafePointer<attn_kernels>
  ) {
    let columns = Int32(tensor.reading.shape.columns)
    for index in 0..<count {
      var source = UnsafePointer(self.row(index))
      var stored = tensor.rowAddress(batch, head, row + index)
      functions.pointee.narrow(
        &source, 1, columns, tensor.reading.elementType.storage, &stored)
    }
  }
}
