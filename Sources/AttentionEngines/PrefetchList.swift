import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// Rows that will be needed soon, for the kernels to prefetch while they compute.
struct PrefetchList {
  /// Where its memory lies.
  struct Layout: Sendable {
    fileprivate let lines: ArenaPart<attn_lines>
    fileprivate let pending: ArenaPart<attn_prefetch_list>

    /// - Parameter capacity: most rows.
    init(capacity: Int, in arena: inout ArenaLayout) {
      lines = arena.add(capacity)
      pending = arena.add(1)
    }
  }

  private let lines: UnsafeMutablePointer<attn_lines>
  private let capacity: Int
  /// What the kernels have not prefetched yet; its lines follow each other to the end of what was added.
  let pending: UnsafeMutablePointer<attn_prefetch_list>
  private var count = 0

  init(_ layout: Layout, _ arena: borrowing Arena) {
    lines = arena[layout.lines]
    capacity = layout.lines.count
    pending = arena[layout.pending]
    clear()
  }

  /// Drops whatever is left.
  mutating func clear() {
    count = 0
    pending.initialize(to: attn_prefetch_list(lines: lines, count: 0, done: 0))
  }

  /// Adds rows of one head; rows that do not fit are not prefetched.
  mutating func add(_ rows: Range<Int>, of tensor: TensorView, batch: Int, head: Int) {
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
  private mutating func add(_ first: UnsafeRawPointer, bytes: Int) {
    if count == capacity { return }
    let lineBytes = Int(ATTN_LINE_BYTES)
    lines[count] = attn_lines(
      first: first, count: Int32((bytes + lineBytes - 1) / lineBytes))
    count += 1
    pending.pointee.count += 1
  }
}
