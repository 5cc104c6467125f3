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

  /// Points at the rows of some places of a key sequence.
  func point(
    at places: Range<Int>, of keys: KeySequence, in view: TensorView, batch: Int, head: Int
  ) {
    let step = view.rowStride * view.elementType.byteCount
    var place = places.lowerBound
    while place < places.upperBound {
      let key = keys.key(place)
      let together =
        keys.period == 1 ? places.upperBound - place : keys.run - place % keys.run
      let count = view.regularRows(
        from: key, limit: min(together, places.upperBound - place))
      let address = view.rowAddress(batch, head, key)
      let out = self + (place - places.lowerBound)
      for i in 0..<count { out[i] = address + i * step }
      place += count
    }
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

  /// The same with rows of a head's keys or values, where they are not stored as fp32.
  func bring(
    _ count: Int, of tensor: TensorView, _ batch: Int, _ kvHead: Int,
    by copies: UnsafeMutablePointer<Float>, _ functions: UnsafePointer<attn_kernels>
  ) {
    if tensor.elementType == .float32 { return }
    widen(
      count: count, columns: tensor.shape.columns, storage: tensor.elementType.storage,
      columnScales: tensor.channelScales(batch, kvHead), into: copies, functions)
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
