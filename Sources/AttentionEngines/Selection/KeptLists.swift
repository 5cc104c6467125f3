/// Lists of keys or blocks that are kept, of at most so many each.
struct KeptLists {
  /// Where their memory lies.
  struct Layout {
    /// `[lists][most]`, and `[lists]` how many, less than 0 where a NaN decides.
    fileprivate let items: ArenaPart<Int32>
    fileprivate let counts: ArenaPart<Int32>
    /// The longest that a list can be.
    let most: Int

    init(_ lists: Int, most: Int, in arena: inout ArenaLayout) {
      items = arena.add(lists * most)
      counts = arena.add(lists)
      self.most = most
    }
  }

  private let items: UnsafeMutablePointer<Int32>
  private let counts: UnsafeMutablePointer<Int32>
  private let most: Int

  /// - Parameter arena: outlives it.
  init(_ parts: Layout, _ arena: borrowing Arena) {
    (items, counts, most) = (arena[parts.items], arena[parts.counts], parts.most)
  }

  /// A list; nil where a NaN decides.
  subscript(list: Int) -> UnsafeBufferPointer<Int32>? {
    let count = Int(counts[list])
    return count < 0 ? nil : UnsafeBufferPointer(start: items + list * most, count: count)
  }

  /// Writes a list down.
  func write(_ kept: UnsafePointer<Int32>, _ count: Int, to list: Int) {
    (items + list * most).update(from: kept, count: count)
    counts[list] = Int32(count)
  }

  /// Writes a list of the first keys down.
  func write(first count: Int, to list: Int) {
    for key in 0..<count { items[list * most + key] = Int32(key) }
    counts[list] = Int32(count)
  }

  /// Lets a NaN decide.
  func spoil(_ list: Int) { counts[list] = -1 }
}
