import Attention
import MachineTopology
import MessagePassing

/// `alltoall`: the rows of some heads instead of some rows of all heads, there and back.
///
/// The strategy's own plan computes whole heads, so that any strategy is served, and its result has the bits
/// of one process. Long sequences are computed in pieces of their queries where the strategy allows it, so
/// that the others can tell a rank that works from one that hangs.
final class HeadsRun: SchemeRun {
  private let context: SchemeContext
  /// The packed sequences, with this rank's heads.
  private let documents: Documents?
  private let deal: HeadDeal
  /// One of them is there.
  private let plan: (any AttentionPlan)?
  private let pieces: QueryPieces?
  private let query: Tensor
  private let key: Tensor
  private let value: Tensor
  private let output: Tensor
  private let logSumExp: Tensor
  private let named: [String: Tensor]

  /// Rows of a sequence beyond which a head is computed in pieces.
  private static let longestPlan = 1 << 16

  init(_ context: SchemeContext) throws(AttentionError) {
    self.context = context
    let (strategy, problem) = (context.strategy, context.problem)
    try problem.refuseUnlessShardable()
    guard !strategy.dependsOnHeadNumbers else {
      throw AttentionError(
        .invalidArgument, argument: "scheme", value: Scheme.alltoall.rawValue,
        advice:
          "\(strategy.name) depends on the numbers of its heads, which cannot be dealt to ranks; "
          + "take states")
    }
    deal = try HeadDeal(context.shape, ranks: context.ranks)
    let (heads, kvHeads) = (
      deal.headRange(of: context.rank), deal.kvHeadRange(of: context.rank)
    )
    let own = try problem.with { shape, scoring, _, _ in
      (shape.heads, shape.kvHeads) = (heads.count, kvHeads.count)
      scoring.sinkLogits = scoring.sinkLogits.map { Array($0[heads]) }
    }
    let documents = try context.documents.map { whole throws(AttentionError) in
      try Documents(whole.packed, in: own)
    }
    self.documents = documents
    if documents != nil, let operand = strategy.operands.first(where: { !$0.isOptional }) {
      throw AttentionError(
        .invalidArgument, argument: "packed", value: "with \(strategy.name)",
        advice: "\(operand.name) of packed sequences is not served over several ranks; run one "
          + "sequence at a time")
    }
    let shape = own.shape
    let isLong = shape.queryLength > Self.longestPlan && strategy.isSliceable
    let everything = [Segment(rows: 0..<shape.queryLength, start: 0)]
    pieces =
      isLong && strategy.keyValueStorage == nil
      ? try QueryPieces(
        strategy, own, documents: documents, queries: everything, team: context.team) : nil
    plan = pieces == nil ? try strategy.plan(for: documents?.problem ?? own, on: context.team) : nil
    query = try Tensor(shape.query)
    key = try Tensor(shape.key)
    value = try Tensor(shape.value)
    output = try Tensor(shape.output)
    logSumExp = try Tensor(shape.logSumExp)
    var named: [String: Tensor] = [:]
    for operand in strategy.operands where !operand.isOptional {
      _ = try operand.rowAxis
      named[operand.name] = try Tensor(operand.shape(in: shape))
    }
    self.named = named
  }

  var workspaceBytes: Int {
    (plan?.workspaceBytes ?? 0) + (pieces?.workspaceBytes ?? 0)
      + 4
      * ([query, key, value, output, logSumExp] + named.values).reduce(0) {
        $0 + $1.shape.count
      }
  }

  func run(_ tensors: ShardTensors) throws -> RunCounts {
    var exchange = context.exchange()
    let (heads, kvHeads) = (deal.headRange, deal.kvHeadRange)
    try toHeads(tensors.query, query, heads, context.queries, &exchange)
    try toHeads(tensors.key, key, kvHeads, context.keys, &exchange)
    try toHeads(tensors.value, value, kvHeads, context.keys, &exchange)
    for operand in context.strategy.operands {
      guard let rows = tensors.named[operand.name], let all = named[operand.name] else { continue }
      let isOfQueries = try operand.rowAxis == .queryLength
      try toHeads(
        rows, all, isOfQueries ? heads : kvHeads, isOfQueries ? context.queries : context.keys,
        &exchange)
    }
    var waited = try exchange.finish("rows become heads")
    try compute()
    try toRows(output, tensors.output, &exchange)
    try toRows(logSumExp, tensors.logSumExp, &exchange)
    waited += try exchange.finish("heads become rows again")
    return RunCounts(waitSeconds: waited)
  }

  private func compute() throws {
    let tensors = ShardTensors(
      query: query, key: key, value: value, output: output, logSumExp: logSumExp, named: named)
    guard let pieces else {
      try plan?.run(tensors.operands(documents))
      return
    }
    pieces.begin()
    let keys = [Segment(rows: 0..<key.shape.rows, start: 0)]
    for batch in 0..<key.shape.batch {
      for kvHead in 0..<key.shape.heads {
        try pieces.attend(
          tensors, batch: batch, kvHead: kvHead, keys: keys, key: key.headRows(batch, kvHead),
          value: value.headRows(batch, kvHead), splitsKeys: false
        ) { try context.communicator.movesOn("computing") }
      }
    }
    pieces.end(tensors)
  }

  private func toHeads(
    _ rows: Tensor, _ all: Tensor, _ heads: (Int) -> Range<Int>, _ layout: ShardLayout,
    _ exchange: inout Exchange
  ) throws {
    let rank = context.rank
    for batch in 0..<context.shape.batch {
      for peer in 0..<context.ranks {
        for (local, head) in heads(rank).enumerated() {
          for segment in layout.segments(peer) {
            let target = all.headRows(batch, local).rows(segment.rows).bytes
            if peer != rank {
              try exchange.receive(target, from: peer)
            } else {
              target.copyMemory(
                from: UnsafeRawBufferPointer(rows.headRows(batch, head).rows(segment.places).bytes))
            }
          }
        }
      }
      for peer in context.otherRanks {
        for head in heads(peer) {
          for segment in layout.segments(rank) {
            try exchange.send(rows.headRows(batch, head).rows(segment.places).bytes, to: peer)
          }
        }
      }
    }
  }

  private func toRows(_ all: Tensor, _ rows: Tensor, _ exchange: inout Exchange) throws {
    let (rank, layout) = (context.rank, context.queries)
    for batch in 0..<context.shape.batch {
      for peer in 0..<context.ranks {
        for head in deal.headRange(of: peer) {
          for segment in layout.segments(rank) {
            let target = rows.headRows(batch, head).rows(segment.places).bytes
            if peer != rank {
              try exchange.receive(target, from: peer)
            } else {
              let local = head - deal.headRange(of: rank).lowerBound
              target.copyMemory(
                from: UnsafeRawBufferPointer(all.headRows(batch, local).rows(segment.rows).bytes))
            }
          }
        }
      }
      for peer in context.otherRanks {
        for local in 0..<deal.headRange(of: rank).count {
          for segment in layout.segments(peer) {
            try exchange.send(all.headRows(batch, local).rows(segment.rows).bytes, to: peer)
          }
        }
      }
    }
  }
}

extension Segment {
  /// Where its rows are among the rank's.
  var places: Range<Int> { start..<start + rows.count }
}
