import AttentionKernels
import CAttentionKernels

/// Lists of keys or blocks that are kept, of at most so many each, rising.
struct KeptLists {
  /// Where their memory lies.
  struct Layout {
    /// `[lists][stride]`, and `[lists]` how many, less than 0 where a NaN decides.
    fileprivate let items: ArenaPart<Int32>
    fileprivate let counts: ArenaPart<Int32>
    /// The longest that a list can be.
    let most: Int
    /// From one list to the next: an odd number of cache lines, since many lists are read side by side.
    fileprivate let stride: Int

    init(_ lists: Int, most: Int, in arena: inout ArenaLayout) {
      stride = (most + KeptLists.ends + 15) / 16 / 2 * 32 + 16
      items = arena.add(lists * stride)
      counts = arena.add(lists)
      self.most = most
    }
  }

  /// Numbers larger than any key that follow a list: a vector of them.
  private static let ends = 16

  private let items: UnsafeMutablePointer<Int32>
  private let counts: UnsafeMutablePointer<Int32>
  private let stride: Int

  /// - Parameter arena: outlives it.
  init(_ parts: Layout, _ arena: borrowing Arena) {
    (items, counts, stride) = (arena[parts.items], arena[parts.counts], parts.stride)
  }

  /// A list; nil where a NaN decides.
  subscript(list: Int) -> UnsafeBufferPointer<Int32>? {
    let count = Int(counts[list])
    return count < 0 ? nil : UnsafeBufferPointer(start: items + list * stride, count: count)
  }

  /// Writes a list down.
  func write(_ kept: UnsafePointer<Int32>, _ count: Int, to list: Int) {
    (items + list * stride).update(from: kept, count: count)
    end(list, at: count)
    counts[list] = Int32(count)
  }

  /// Writes a list of the first keys down.
  func write(first count: Int, to list: Int) {
    for key in 0..<count { items[list * stride + key] = Int32(key) }
    end(list, at: count)
    counts[list] = Int32(count)
  }

  /// Lets a NaN decide.
  func spoil(_ list: Int) {
    end(list, at: 0)
    counts[list] = -1
  }

  private func end(_ list: Int, at count: Int) {
    (items + list * stride + count).update(repeating: .max, count: Self.ends)
  }

  /// The place in a list of the first item that is not less than another.
  func place(of item: Int, in list: Int) -> Int {
    let start = items + list * stride
    var (low, high) = (0, max(0, Int(counts[list])))
    while low < high {
      let middle = (low + high) / 2
      if Int(start[middle]) < item { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Some lists as kernels meet them.
  ///
  /// - Parameters:
  ///   - cursors: how far they have been met.
  ///   - found: scratch, one a list.
  func lists(
    _ range: Range<Int>, cursors: UnsafeMutablePointer<Int32>, found: UnsafeMutablePointer<Int32>
  ) -> attn_kept_lists {
    attn_kept_lists(
      keys: items + range.lowerBound * stride, stride: Int64(stride), count: Int32(range.count),
      cursors: cursors, found: found)
  }
}
