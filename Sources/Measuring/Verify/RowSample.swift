import Attention
import MachineTopology
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

extension [SampledRow] {
  /// What `body` makes of each row, in order, from all workers of a team. What a definition works out for all
  /// rows of a head is worked out once a head: `body` gets the oracle prepared for its row's.
  package func map<Value: Sendable>(
    with oracle: any AttentionOracle, _ inputs: InputViews, on team: WorkerTeam,
    _ body: @escaping @Sendable (any AttentionOracle, InputViews, SampledRow) -> Value
  ) -> [Value] {
    let views = inputs.unowned
    let heads = OrderedSet(map { [$0.batch, $0.head] })
    return withExtendedLifetime(inputs) {
      let oracles = team.map(heads.count) {
        oracle.prepared(views, batch: heads[$0][0], head: heads[$0][1])
      }
      return team.map(count) { index in
        let row = self[index]
        let place = heads.firstIndex(of: [row.batch, row.head]) ?? 0
        return body(oracles[place], views, row)
      }
    }
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
