import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// A table of rows, of whatever elements.
typealias RowPointers = UnsafeMutablePointer<UnsafeRawPointer>

extension RowPointers {
  /// The table as the kernels read it, where all rows are fp32.
  @inline(__always)
  var floats: UnsafePointer<UnsafePointer<Float>> {
    UnsafeRawPointer(self).assumingMemoryBound(to: UnsafePointer<Float>.self)
  }

  /// Copies the first `count` rows together, as fp32, and points at the copies.
  func widen(
    count: Int, columns: Int, storage: attn_storage, columnScales: UnsafePointer<Float>? = nil,
    into copies: UnsafeMutablePointer<Float>, _ functions: UnsafePointer<attn_kernels>
  ) {
    functions.pointee.widen(
      self, Int32(count), Int32(columns), storage, columnScales, copies)
    for i in 0..<count { self[i] = UnsafeRawPointer(copies + i * columns) }
  }
}

extension UnsafeMutablePointer where Pointee == UnsafeMutablePointer<Float> {
  /// Rounds the first `count` rows into rows of another element type.
  func narrow(
    count: Int, columns: Int, storage: attn_storage,
    into out: UnsafeMutablePointer<UnsafeMutableRawPointer>,
    _ functions: UnsafePointer<attn_kernels>
  ) {
    let rows = UnsafeRawPointer(self).assumingMemoryBound(to: UnsafePointer<Float>.self)
    functions.pointee.narrow(rows, Int32(count), Int32(columns), storage, out)
  }
}
