import AttentionKernels
import Tensors

/// Keys and values in one block of memory each, `[b, hKV, capacity, d]`.
///
/// Appending writes in place: O(new rows), the past is not touched. `reserve` makes room for more
/// and is the only thing that copies.
public final class ContiguousCache: KeyValueCache {
  private let rows: CacheRows
  private var memory: DenseRows
  public private(set) var lengths: [Int]
  public private(set) var truncations = 0

  /// A cache with room for `capacity` rows a batch entry. The system backs its memory as rows
  /// arrive.
  ///
  /// - Parameter channelScales: for `int8PerChannel`; left out, they are measured from the rows
  ///   that an empty entry takes in first.
  /// - Throws: `AttentionError` when the capacity is out of range, scales do not fit, or memory is
  ///   refused.
  public init(
    _ shape: CacheShape, capacity: Int, elementType: ElementType = .float32,
    channelScales: ChannelScales? = nil
  ) throws(AttentionError) {
    rows = try CacheRows(shape, elementType, scales: channelScales)
    memory = try DenseRows(capacity: capacity, "capacity", of: rows)
    lengths = Array(repeating: 0, count: shape.batch)
  }

  public var shape: CacheShape { rows.shape }
  public var elementType: ElementType { rows.elementType }
  public var tokens: [Int] { lengths }
  public var keepsPositions: Bool { true }
  public var bytes: Int { memory.bytes + rows.bytes }
  public var capacity: Int { memory.capacity }

  public func append(
    key: TensorView, value: TensorView, counts: [Int]?
  ) throws(AttentionError) {
    try rows.check(key, value, counts: counts)
    for entry in 0..<shape.batch {
      let needed = lengths[entry] + (counts?[entry] ?? key.shape.rows)
      if needed > capacity {
        throw AttentionError(
          .capacityExhausted, argument: "capacity", value: capacity,
          advice: "entry \(entry) would need \(needed) rows; reserve(\(needed)) makes room")
      }
    }
    let views = views(rows: capacity)
    for entry in 0..<shape.batch {
      let count = counts?[entry] ?? key.shape.rows
      if lengths[entry] == 0 { rows.calibrate(entry: entry, key, value, count: count) }
      for row in 0..<count {
        rows.store(key, value, entry: entry, row: row, in: views, slot: lengths[entry] + row)
      }
      lengths[entry] += count
    }
  }

  public func length(entry: Int, adding count: Int) -> Int { lengths[entry] + count }

  /// Makes room for at least `capacity` rows a batch entry by moving into larger memory. Views made
  /// before then keep the old one, and see nothing that is appended after.
  ///
  /// - Complexity: O(rows held), if it has to move.
  /// - Throws: `AttentionError` when the capacity is out of range or memory is refused; the cache is
  ///   then as before.
  public func reserve(_ capacity: Int) throws(AttentionError) {
    if capacity <= self.capacity { return }
    let larger = try DenseRows(capacity: capacity, "capacity", of: rows)
    for head in 0..<shape.batch * shape.kvHeads {
      memory.copy(head: head, rows: lengths[head / shape.kvHeads], to: larger)
    }
    memory = larger
  }

  public func views(rows count: Int) -> (key: TensorView, value: TensorView) {
    memory.views(rows: count)
  }

  public func truncate(entry: Int, to count: Int) throws(AttentionError) {
    try checkTruncation(entry: entry, to: count)
    lengths[entry] = count
    truncations += 1
  }
}
