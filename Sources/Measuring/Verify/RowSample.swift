import Attention
import OrderedCollections
import Records
import Statistics
import Units

/// One query row of one head.
public struct SampledRow: Hashable, Sendable {
  /// The sequence.
  public let batch: Int
  public let head: Int
  public let row: Int

  public init(batch: Int, head: Int, row: Int) {
    self.batch = batch
    self.head = head
    self.row = row
  }
}

/// Query rows to check, drawn without repetition; all of them where they are few.
public struct RowSample: Sendable {
  public let rows: [SampledRow]

  /// Draws up to `limit` rows of a problem, the first and the last row of the last head among
  /// them: edges are where masks go wrong.
  ///
  /// - Parameter limit: at least 1.
  public init(_ shape: AttentionShape, limit: Int, seed: UInt64) {
    let heads = shape.batch * shape.heads
    let total = heads * shape.queryLength
    func row(_ index: Int) -> SampledRow {
      SampledRow(
        batch: index / shape.queryLength / shape.heads,
        head: index / shape.queryLength % shape.heads,
        row: index % shape.queryLength)
    }
    guard limit < total else {
      rows = (0..<total).map(row)
      return
    }
    var chosen: OrderedSet = [total - shape.queryLength, total - 1]
    var generator = SeededGenerator(seed: seed)
    while chosen.count < limit {
      chosen.append(Int.random(in: 0..<total, using: &generator))
    }
    rows = chosen.prefix(max(limit, 1)).map(row)
  }
}
