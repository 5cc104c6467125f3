import Attention
import MachineTopology
import MessagePassing

/// A strategy made ready for a problem that is spread over all ranks.
///
/// ```swift
/// let communicator = try Communicator()
/// let plan = try DistributedPlan(
///   strategy, for: problem, scheme: .ring, order: .zigzag, communicator: communicator, team: team)
/// let tensors = try plan.randomTensors(seed: 1)       // this rank's rows
/// let counts = try plan.run(tensors)                  // on all ranks at once
/// ```
///
/// Results are within the rounding bound of the one-process result; the same number of ranks, scheme and
/// shards give the same bits.
public final class DistributedPlan {
  /// Which rows of queries each rank has.
  public let queries: ShardLayout
  /// Which rows of keys each rank has.
  public let keys: ShardLayout
  public let scheme: Scheme
  public let strategy: any AttentionStrategy
  /// The whole problem; of packed sequences all as one.
  public let problem: AttentionProblem
  /// The packed sequences that its rows are, if so.
  let documents: Documents?
  /// What each rank sends by the scheme's formula.
  public let traffic: Traffic

  private let communicator: Communicator
  private let scheduled: any SchemeRun

  /// Checks, deals the rows and allocates, on all ranks alike.
  ///
  /// - Parameters:
  ///   - problem: the whole one, in fp32, without mask, bias and slopes.
  ///   - packed: sequences that the problem's rows are, one behind the other: batch 1, as many rows as all
  ///     of them. What the problem hides is hidden within each, and no sequence sees another.
  ///   - scheme: nil for the one that moves least: `states`, `halo` and `alltoall` where they serve and keep
  ///     all ranks evenly busy, `ring` otherwise.
  ///   - order: nil for zigzag where a causal mask would else leave ranks idle, contiguous otherwise.
  ///   - link: a link to be simulated between processes of one machine: nothing comes sooner than it would
  ///     bring it.
  /// - Throws: `AttentionError` naming the scheme that the strategy cannot take, more ranks than rows, or
  ///   an option that is not served; of kind `outOfMemory`.
  public init(
    _ strategy: any AttentionStrategy, for problem: AttentionProblem,
    packed: PackedSequences? = nil, scheme: Scheme? = nil, order: ShardOrder? = nil,
    link: LinkModel? = nil, communicator: Communicator, team: WorkerTeam
  ) throws(AttentionError) {
    let documents = try packed.map { packed throws(AttentionError) in
      try Documents(packed, in: problem)
    }
    let chosen =
      if let scheme { scheme } else {
        Scheme.automatic(strategy, problem, documents, ranks: communicator.size)
      }
    let deal = order ?? chosen.usualOrder(problem)
    if chosen == .halo || chosen == .states, deal != .contiguous {
      throw AttentionError(
        .invalidArgument, argument: "shards", value: deal.rawValue,
        advice: "\(chosen.rawValue) is between neighbours; take contiguous")
    }
    queries = try ShardLayout(
      length: problem.shape.queryLength, ranks: communicator.size, order: deal)
    keys = try ShardLayout(
      length: problem.shape.keyLength, ranks: communicator.size, order: deal,
      argument: "number of keys")
    let context = SchemeContext(
      strategy: strategy, problem: problem, documents: documents, queries: queries, keys: keys,
      communicator: communicator, link: link, team: team)
    switch chosen {
    case .ring: scheduled = try RingRun(context)
    case .allgather: scheduled = try GatherRun(context)
    case .alltoall: scheduled = try HeadsRun(context)
    case .halo: scheduled = try HaloRun(context)
    case .states: scheduled = try StatesRun(context)
    }
    traffic = try chosen.traffic(context)
    self.scheme = chosen
    self.strategy = strategy
    self.problem = problem
    self.documents = documents
    self.communicator = communicator
  }

  /// Bytes that this rank holds beyond its shard: travelling blocks, gathered keys, plans; the largest so
  /// far.
  public var workspaceBytes: Int { scheduled.workspaceBytes }

  /// This rank's rows of the random problem of a seed.
  ///
  /// - Throws: `AttentionError` of kind `outOfMemory`.
  public func randomTensors(seed: UInt64) throws(AttentionError) -> ShardTensors {
    try ShardTensors(
      random: problem, operands: strategy.operands, queries: queries.segments(communicator.rank),
      keys: keys.segments(communicator.rank), seed: seed)
  }

  /// Computes output and LSE of this rank's rows. All ranks call it together.
  ///
  /// - Throws: `MessagePassingError` naming a rank that died or hangs.
  public func run(_ tensors: ShardTensors) throws -> RunCounts {
    let before = communicator.bytesSent
    var counts = try withExtendedLifetime(tensors) { try scheduled.run(tensors) }
    counts.bytesSent = communicator.bytesSent - before
    return counts
  }

  /// Output and LSE of the whole problem, on rank 0; nil on the others.
  ///
  /// - Throws: `MessagePassingError`; `AttentionError` of kind `outOfMemory`.
  public func gather(_ tensors: ShardTensors) throws -> (output: Tensor, logSumExp: Tensor)? {
    let shape = problem.shape
    var exchange = Exchange(communicator)
    var whole: (output: Tensor, logSumExp: Tensor)?
    if communicator.rank == 0 {
      whole = (try Tensor(shape.output), try Tensor(shape.logSumExp))
    }
    for (part, all) in [(tensors.output, whole?.output), (tensors.logSumExp, whole?.logSumExp)] {
      for batch in 0..<shape.batch {
        for head in 0..<shape.heads {
          let own = part.headRows(batch, head)
          guard let target = all?.headRows(batch, head) else {
            for segment in queries.segments(communicator.rank) {
              try exchange.send(own.rows(segment.places).bytes, to: 0)
            }
            continue
          }
          for peer in 0..<communicator.size {
            for segment in queries.segments(peer) {
              let rows = target.rows(segment.rows).bytes
              if peer > 0 {
                try exchange.receive(rows, from: peer)
              } else {
                rows.copyMemory(from: UnsafeRawBufferPointer(own.rows(segment.places).bytes))
              }
            }
          }
        }
      }
    }
    _ = try exchange.finish("gathering the result on rank 0")
    return whole
  }
}

extension Scheme {
  /// What serves the strategy and moves least, where all ranks stay evenly busy.
  ///
  static func automatic(
    _ strategy: any AttentionStrategy, _ problem: AttentionProblem, _ documents: Documents?,
    ranks: Int
  ) -> Scheme {
    let shape = problem.shape
    if documents == nil, strategy.keepsState, problem.visibility.causal,
      strategy.operands.contains(where: { $0.name == "state" }),
      shape.queryLength == shape.keyLength
    {
      return .states
    }
    guard strategy.isSliceable else { return .alltoall }
    if let queries = try? ShardLayout(
      length: shape.queryLength, ranks: ranks, order: .contiguous),
      let keys = try? ShardLayout(length: shape.keyLength, ranks: ranks, order: .contiguous),
      (try? Halo(strategy, problem, documents: documents, queries: queries, keys: keys)) != nil,
      ranks > 1
    {
      return .halo
    }
    return shape.kvHeads % ranks == 0 ? .alltoall : .ring
  }

  /// How rows are dealt unless asked otherwise.
  func usualOrder(_ problem: AttentionProblem) -> ShardOrder {
    switch self {
    case .ring, .allgather: problem.visibility.causal ? .zigzag : .contiguous
    case .alltoall, .halo, .states: .contiguous
    }
  }

  /// What each rank sends.
  fileprivate func traffic(_ context: SchemeContext) throws(AttentionError) -> Traffic {
    let (shape, keys, queries) = (context.shape, context.keys, context.queries)
    switch self {
    case .ring, .allgather: return .keysToAll(shape, keys: keys)
    case .alltoall:
      return .headsForRows(
        shape, deal: try HeadDeal(shape, ranks: context.ranks), queries: queries, keys: keys)
    case .halo:
      let halo = try Halo(
        context.strategy, context.problem, documents: context.documents, queries: queries,
        keys: keys)
      return .rowsThatAreSeen(shape, rows: (0..<context.ranks).map(halo.rowsSent))
    case .states: return .states(shape, stateRows: shape.headDim, ranks: context.ranks)
    }
  }
}
