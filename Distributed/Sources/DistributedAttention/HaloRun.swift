import Attention
import MachineTopology
import MessagePassing

/// Which keys of others the queries of each rank see.
package struct Halo {
  /// `[rank]`: what it needs of the keys that it does not have, with the rank that has them; rising.
  let needs: [[(owner: Int, rows: Range<Int>)]]

  /// - Throws: `AttentionError` of kind `invalidArgument` when half of what an all-gather moves, or more,
  ///   would have to travel.
  /// - Complexity: a look-up of the pattern for each row and sequence; O(nKV) memory.
  package init(
    _ strategy: any AttentionStrategy, _ problem: AttentionProblem, documents: Documents? = nil,
    queries: ShardLayout, keys: ShardLayout
  ) throws(AttentionError) {
    try strategy.refuseUnlessSliceable(problem)
    let ranks = keys.ranks
    let see = Self.reach(strategy, problem, documents)
    needs = (0..<ranks).map { rank in
      let ranges = queries.segments(rank).flatMap { see($0.rows) }
        .sorted { $0.lowerBound < $1.lowerBound }
      var joined: [Range<Int>] = []
      for range in ranges {
        if let last = joined.last, range.lowerBound <= last.upperBound {
          joined[joined.count - 1] =
            last.lowerBound..<Swift.max(last.upperBound, range.upperBound)
        } else {
          joined.append(range)
        }
      }
      return (0..<ranks).filter { $0 != rank }.flatMap { owner in
        keys.segments(owner).flatMap { segment in
          joined.map { $0.clamped(to: segment.rows) }.filter { !$0.isEmpty }
            .map { (owner: owner, rows: $0) }
        }
      }
    }
    let moved = needs.joined().reduce(0) { $0 + $1.rows.count }
    let all = (ranks - 1) * keys.length
    if ranks > 1, 2 * moved >= all {
      throw AttentionError(
        .invalidArgument, argument: "scheme", value: Scheme.halo.rawValue,
        advice: "the queries of \(strategy.spec(for: problem)) on a rank see "
          + "\(100 * moved / max(all, 1))% of the keys that others have; halo is for patterns that see "
          + "less than half of them: take ring, allgather or alltoall")
    }
  }

  /// What tells the keys that some query rows see.
  private static func reach(
    _ strategy: any AttentionStrategy, _ problem: AttentionProblem, _ documents: Documents?
  ) -> (Range<Int>) -> [Range<Int>] {
    guard let documents else {
      // What one sequence of the batch needs, all have: their shards are of one shape.
      let geometries = Set((0..<problem.shape.batch).map { problem.geometry(batch: $0) })
      let patterns = geometries.map { strategy.pattern(for: $0) }
      return { rows in patterns.flatMap { $0.keysNeeded(by: rows) } }
    }
    let patterns = strategy.patterns(for: documents.problem)
    return { rows in
      documents.parts(of: rows).flatMap { part in
        let first = documents.packed.keyOffsets[part.sequence]
        return patterns[part.sequence].keysNeeded(by: part.rows).map {
          $0.lowerBound + first..<$0.upperBound + first
        }
      }
    }
  }

  /// Rows that a rank sends, to all others together.
  package func rowsSent(_ rank: Int) -> Int {
    needs.joined().reduce(0) { $0 + ($1.owner == rank ? $1.rows.count : 0) }
  }
}

/// `halo`: the own keys first, while those of others come that are seen; then these.
final class HaloRun: SchemeRun {
  private let context: SchemeContext
  private let pieces: QueryPieces
  private let halo: Halo
  private let keys: [Segment]
  private let key: Tensor?
  private let value: Tensor?

  init(_ context: SchemeContext) throws(AttentionError) {
    self.context = context
    halo = try Halo(
      context.strategy, context.problem, documents: context.documents, queries: context.queries,
      keys: context.keys)
    pieces = try context.pieces()
    let shape = context.shape
    keys = [Segment](of: halo.needs[context.rank].map(\.rows))
    let rows = keys.rowCount
    key =
      rows == 0 ? nil : try Tensor(TensorShape(shape.batch, shape.kvHeads, rows, shape.headDim))
    value =
      rows == 0 ? nil : try Tensor(TensorShape(shape.batch, shape.kvHeads, rows, shape.valueDim))
  }

  var workspaceBytes: Int {
    pieces.workspaceBytes + 4 * ((key?.shape.count ?? 0) + (value?.shape.count ?? 0))
  }

  func run(_ tensors: ShardTensors) throws -> RunCounts {
    let shape = context.shape
    var exchange = context.exchange()
    for (own, others) in [(tensors.key, key), (tensors.value, value)] {
      for batch in 0..<shape.batch {
        for kvHead in 0..<shape.kvHeads {
          if let others {
            let target = others.headRows(batch, kvHead)
            for (need, segment) in zip(halo.needs[context.rank], keys) {
              let places = segment.start..<segment.start + segment.rows.count
              try exchange.receive(target.rows(places).bytes, from: need.owner)
            }
          }
          let source = own.headRows(batch, kvHead)
          for peer in context.otherRanks {
            for need in halo.needs[peer] where need.owner == context.rank {
              for segment in context.keys.segments(context.rank)
              where segment.rows.contains(need.rows.lowerBound) {
                let places =
                  need.rows.lowerBound + segment.shift..<need.rows.upperBound + segment.shift
                try exchange.send(source.rows(places).bytes, to: peer)
              }
            }
          }
        }
      }
    }
    pieces.begin()
    let ownKeys = context.keys.segments(context.rank)
    for batch in 0..<shape.batch {
      for kvHead in 0..<shape.kvHeads {
        try pieces.attend(
          tensors, batch: batch, kvHead: kvHead, keys: ownKeys,
          key: tensors.key.headRows(batch, kvHead), value: tensors.value.headRows(batch, kvHead)
        ) { try exchange.pump() }
      }
    }
    let waited = try exchange.finish("keys and values at the edges of shards travel")
    if let key, let value {
      for batch in 0..<shape.batch {
        for kvHead in 0..<shape.kvHeads {
          try pieces.attend(
            tensors, batch: batch, kvHead: kvHead, keys: keys, key: key.headRows(batch, kvHead),
            value: value.headRows(batch, kvHead)
          ) { try context.communicator.movesOn("computing") }
        }
      }
    }
    pieces.end(tensors)
    return RunCounts(waitSeconds: waited)
  }
}
