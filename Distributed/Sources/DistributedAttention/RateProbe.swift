import Attention
import MachineTopology
import MessagePassing

/// What a rank's workers do a second.
public struct MeasuredRate: Sendable {
  /// Floating-point operations a second, as the strategy counts them, of one rank.
  public let flopsPerSecond: Double
  /// Bytes of plans and partial results.
  public let workspaceBytes: Int

  /// A rate that is known.
  public init(flopsPerSecond: Double, workspaceBytes: Int) {
    self.flopsPerSecond = flopsPerSecond
    self.workspaceBytes = workspaceBytes
  }
}

/// Measures what ranks compute a second while all of them do, side by side on the cores that they have.
///
/// A rank's part of one group of heads stands for all, which follow each other on a rank: its own queries
/// against the keys of rank after rank, merged, as its scheme meets them; where a rank has whole heads, one
/// of them by the strategy's own plan.
public final class RateProbe {
  /// Which runs count.
  public enum Pace: Sendable {
    /// The fastest: whatever else a machine did in between is not what nodes of one's own do.
    case fastest
    /// All of them: what this machine gives now.
    case sustained
  }

  private let communicator: Communicator
  private let strategy: any AttentionStrategy
  private let tensors: ShardTensors
  private let pieces: QueryPieces?
  private let plan: (any AttentionPlan)?
  private let blocks: [(keys: [Segment], places: Range<Int>)]
  /// Of one run on this rank.
  private let flops: Double

  /// Makes ready on this rank.
  ///
  /// - Parameters:
  ///   - rows: queries and keys to measure with, at most the problem's and at least one a rank.
  /// - Throws: `AttentionError` when the strategy cannot serve the problem or memory is refused.
  public init(
    _ strategy: any AttentionStrategy, _ problem: AttentionProblem, scheme: Scheme,
    order: ShardOrder? = nil, rows: Int, seed: UInt64, communicator: Communicator, team: WorkerTeam
  ) throws(AttentionError) {
    let (rank, ranks) = (communicator.rank, communicator.size)
    let count = min(max(rows, ranks), problem.shape.queryLength)
    let part = try problem.with { shape, _, _, _ in
      (shape.heads, shape.kvHeads, shape.batch) = (shape.groupSize, 1, 1)
      (shape.queryLength, shape.keyLength) = (count, count)
    }
    let all = Double(try strategy.work(for: part, threads: team.threadCount).flops)
    let everything = [Segment(rows: 0..<count, start: 0)]
    self.communicator = communicator
    self.strategy = strategy
    guard strategy.isSliceable, scheme.cutsKeys else {
      tensors = try ShardTensors(
        random: part, operands: strategy.operands, queries: everything, keys: everything,
        seed: seed)
      plan = try strategy.plan(for: part, on: team)
      (pieces, blocks, flops) = (nil, [], all)
      return
    }
    let layout = try ShardLayout(
      length: count, ranks: ranks, order: order ?? scheme.usualOrder(problem))
    let queries = layout.segments(rank)
    // In a ring the own keys come first and those of the others one after the other.
    let owners =
      scheme == .allgather
      ? [everything] : (0..<ranks).map { layout.segments((rank - $0 + ranks) % ranks) }
    let keys = [Segment](of: owners.flatMap { $0.map(\.rows) })
    var (blocks, start) = ([(keys: [Segment], places: Range<Int>)](), 0)
    for owner in owners {
      let places = start..<start + owner.rowCount
      blocks.append((keys.part(places), places))
      start = places.upperBound
    }
    self.blocks = blocks
    tensors = try ShardTensors(
      random: part, operands: [], queries: queries, keys: keys, seed: seed)
    pieces = try QueryPieces(strategy, part, queries: queries, team: team)
    plan = nil
    let pattern = strategy.pattern(for: part.geometry(batch: 0))
    let own = queries.reduce(0) { $0 + pattern.pairs(of: $1.rows) }
    flops = all * Double(own) / Double(max(pattern.pairs(of: 0..<count), 1))
  }

  /// Measures on all ranks at once. All of them call it.
  ///
  /// - Parameter seconds: how long; a run at least.
  /// - Returns: of ranks with cores of their own that of the slowest, for all wait for it; the mean where
  ///   workers share cores, for those that are done leave them to the others.
  /// - Throws: `MessagePassingError`; `AttentionError` as `AttentionPlan.run`.
  public func measure(seconds: Double, pace: Pace, sharesCores: Bool) throws -> MeasuredRate {
    try once()
    try communicator.barrier("beginning to measure a rate together")
    let start = monotonicSeconds()
    var (runs, fastest, now) = (0.0, Double.infinity, start)
    repeat {
      let begin = now
      try once()
      now = monotonicSeconds()
      runs += 1
      fastest = min(fastest, now - begin)
    } while now - start < seconds
    let own = pace == .fastest ? flops / fastest : flops * runs / (now - start)
    let workspace = pieces?.workspaceBytes ?? plan?.workspaceBytes ?? 0
    let facts = try communicator.gatherAll([own, Double(workspace)])
    let rates = facts.map { $0[0] }
    return MeasuredRate(
      flopsPerSecond: sharesCores
        ? rates.reduce(0, +) / Double(rates.count) : rates.min() ?? own,
      workspaceBytes: Int(facts.map { $0[1] }.max() ?? 0))
  }

  private func once() throws {
    guard let pieces else {
      try plan?.run(tensors.operands(nil))
      try communicator.movesOn("measuring a rate")
      return
    }
    pieces.begin()
    for block in blocks {
      try pieces.attend(
        tensors, batch: 0, kvHead: 0, keys: block.keys,
        key: tensors.key.headRows(0, 0).rows(block.places),
        value: tensors.value.headRows(0, 0).rows(block.places)
      ) { try communicator.movesOn("measuring a rate") }
    }
    pieces.end(tensors)
  }
}

extension Scheme {
  /// Whether a rank works on some of the keys at a time.
  fileprivate var cutsKeys: Bool {
    switch self {
    case .ring, .allgather, .halo: true
    case .alltoall, .states: false
    }
  }
}

extension LinkModel {
  /// Measures what ranks send each other while all of them do. All ranks call it.
  ///
  /// - Throws: `MessagePassingError`; `AttentionError` of kind `outOfMemory`.
  public static func measured(between communicator: Communicator) throws -> LinkModel {
    let (rank, ranks, rounds) = (communicator.rank, communicator.size, 8)
    guard ranks > 1 else { return try LinkModel(bytesPerSecond: 1e15, latency: 0) }
    let out = try Tensor(TensorShape(1, 1, 1, RingRun.blockBytes / 4))
    let into = try Tensor(out.shape)
    func seconds(bytes: Int) throws -> Double {
      try communicator.barrier("beginning to measure the link together")
      let start = monotonicSeconds()
      for round in 0..<rounds {
        let step = 1 + round % (ranks - 1)
        var exchange = Exchange(communicator)
        try exchange.receive(
          UnsafeMutableRawBufferPointer(start: into.mutableView.base, count: bytes),
          from: (rank - step + ranks) % ranks)
        try exchange.send(
          UnsafeMutableRawBufferPointer(start: out.mutableView.base, count: bytes),
          to: (rank + step) % ranks)
        _ = try exchange.finish("measuring the link")
      }
      let own = (monotonicSeconds() - start) / Double(rounds)
      return try communicator.gatherAll([own]).map { $0[0] }.max() ?? own
    }
    _ = try seconds(bytes: RingRun.blockBytes)
    let latency = try seconds(bytes: 8)
    let block = try seconds(bytes: RingRun.blockBytes)
    return try LinkModel(
      bytesPerSecond: Double(RingRun.blockBytes)
        / max(block - latency, block / 10, .leastNonzeroMagnitude), latency: latency)
  }
}
