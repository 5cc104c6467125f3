import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// Rows that will be needed soon, for the kernels to prefetch while they compute.
final class PrefetchList: @unchecked Sendable {
  private let lines: UnsafeMutablePointer<attn_lines>
  private let capacity: Int
  private var count = 0
  /// What the kernels have not prefetched yet.
  let pending: UnsafeMutablePointer<attn_prefetch_list>

  /// Bytes of a list of at most `capacity` rows.
  static func bytes(capacity: Int) -> Int { MemoryLayout<attn_lines>.stride * capacity }

  init(capacity: Int) {
    self.capacity = capacity
    lines = .allocate(capacity: capacity)
    pending = .allocate(capacity: 1)
    clear()
  }

  deinit {
    lines.deallocate()
    pending.deallocate()
  }

  /// Drops whatever is left.
  func clear() {
    count = 0
    pending.initialize(to: attn_prefetch_list(lines: lines, count: 0, done: 0))
  }

  /// Adds rows of one head; rows that do not fit are not prefetched.
  func add(_ rows: Range<Int>, of tensor: TensorView, batch: Int, head: Int) {
    let rowBytes = Int(tensor.rowBytes)
    let isDense = tensor.rowStride * tensor.elementType.byteCount == rowBytes
    var row = rows.lowerBound
    while row < rows.upperBound {
      let count = isDense ? tensor.regularRows(from: row, limit: rows.upperBound - row) : 1
      add(tensor.rowAddress(batch, head, row), bytes: count * rowBytes)
      row += count
    }
  }

  /// Adds the lines of `bytes` bytes.
  private func add(_ first: UnsafeRawPointer, bytes: Int) {
    if count == capacity { return }
    let lineBytes = Int(ATTN_LINE_BYTES)
    lines[count] = attn_lines(
      first: first, count: Int32((bytes + lineBytes - 1) / lineBytes))
    count += 1
    pending.pointee.count += 1
  }
}
