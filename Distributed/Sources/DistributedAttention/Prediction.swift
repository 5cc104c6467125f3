import Attention

/// What a run over ranks would take, from rates that were measured on one rank.
///
/// With C_r the seconds rank r computes, M the seconds its messages take (bytes / rate + latency a message) and
/// O the share of C that its own keys give:
///
/// | scheme | time |
/// |---|---|
/// | ring | O + max(C - O, M - min(O, 3 M / blocks)): blocks come while earlier ones are worked on, three ahead |
/// | allgather | M + C |
/// | alltoall | M + C, C of ceil(hKV / R) key/value heads |
/// | halo | max(O, M) + C - O |
/// | states | R c + (R - 1)(s + latency) + (H - 1) max(c, s): a pipeline of H = hKV b heads that take c = C / H |
///
/// where s is a state's bytes / rate.
/// A ring's communication is hidden while M <= C - O. Both grow with n, C with its square: from some length
/// on it is.
public struct Prediction: Sendable {
  public let scheme: Scheme
  public let ranks: Int
  /// Seconds of the whole.
  public let time: Double
  /// Seconds that the busiest rank computes.
  public let compute: Double
  /// Seconds that the messages of a rank take.
  public let communication: Double
  /// Bytes that a rank sends at most.
  public let bytes: Int
  /// Bytes that a rank holds: its rows of all tensors, and what the scheme takes besides.
  public let memory: Int
  /// The share of the communication that work hides.
  public var hidden: Double {
    communication == 0 ? 1 : min(max(1 - (time - compute) / communication, 0), 1)
  }
  /// Sequence length from which a ring's communication is hidden, its rate of work and ranks being the same;
  /// nil for other schemes, and for patterns whose work does not grow with the square of the length.
  public let hiddenFrom: Int?
}

/// What a prediction starts from: the problem, and what is known of the machines.
public struct PredictionModel {
  private let strategy: any AttentionStrategy
  private let problem: AttentionProblem
  private let rate: MeasuredRate
  private let link: LinkModel
  /// Floating-point operations of all heads.
  private let flops: Double
  private let pattern: (any KeyPattern)?

  /// - Throws: `AttentionError` when the strategy cannot serve the problem.
  public init(
    _ strategy: any AttentionStrategy, _ problem: AttentionProblem, rate: MeasuredRate,
    link: LinkModel
  ) throws(AttentionError) {
    self.strategy = strategy
    self.problem = problem
    self.rate = rate
    self.link = link
    flops = Double(try strategy.work(for: problem, threads: 1).flops)
    pattern = strategy.isSliceable ? strategy.pattern(for: problem.geometry(batch: 0)) : nil
  }

  /// What a scheme takes on so many ranks.
  ///
  /// - Throws: `AttentionError` of kind `invalidArgument` when the scheme or the number of ranks cannot be.
  public func prediction(
    _ scheme: Scheme, ranks: Int, order: ShardOrder? = nil
  ) throws(AttentionError) -> Prediction {
    let shape = problem.shape
    let deal = order ?? scheme.usualOrder(problem)
    let queries = try ShardLayout(length: shape.queryLength, ranks: ranks, order: deal)
    let keys = try ShardLayout(
      length: shape.keyLength, ranks: ranks, order: deal, argument: "number of keys")
    if scheme != .alltoall, scheme != .states { try strategy.refuseUnlessSliceable(problem) }
    let all = flops / rate.flopsPerSecond
    let shares = shares(queries, keys)
    let rows = (0..<ranks).map { queries.count($0) }.max() ?? 0
    let keyRows = (0..<ranks).map { keys.count($0) }.max() ?? 0
    let (wide, e) = (shape.headDim + shape.valueDim, Traffic.elementBytes)
    let shard =
      e * shape.batch
      * (rows * shape.heads * (wide + 1) + keyRows * shape.kvHeads * wide)
    var compute = all * shares.largest
    let own = compute / Double(ranks)
    let others = Double(ranks - 1)
    switch scheme {
    case .ring:
      let traffic = Traffic.keysToAll(shape, keys: keys).largest
      let blockRows = max(RingRun.blockBytes / (e * wide), 1)
      let messages =
        2 * others * Double(shape.batch * shape.kvHeads)
        * (Double(keyRows) / Double(blockRows)).rounded(.up)
      // Latencies of blocks that are under way together overlap.
      let seconds = link.seconds(
        bytes: Double(traffic), messages: messages / Double(2 * BlockStream.window))
      // As many blocks as there are places for come while the own keys are worked on.
      let blocks = max(messages / 2, 1)
      let ahead = min(own, seconds * min(1, Double(BlockStream.window) / blocks))
      // M <= C - O, with C - O as n^2 and M as n.
      let from = Double(shape.queryLength) * seconds / max(compute - own, .leastNonzeroMagnitude)
      return Prediction(
        scheme: scheme, ranks: ranks, time: own + max(compute - own, seconds - ahead),
        compute: compute,
        communication: seconds, bytes: traffic,
        memory: shard + rate.workspaceBytes + BlockStream.window
          * min(RingRun.blockBytes, e * wide * keyRows),
        hiddenFrom: strategy.operatorClass != .exact
          ? nil : ranks == 1 ? 0 : Int(min(from, 1e15).rounded(.up)))
    case .allgather:
      let traffic = Traffic.keysToAll(shape, keys: keys).largest
      let seconds = link.seconds(bytes: Double(traffic), messages: others)
      return Prediction(
        scheme: scheme, ranks: ranks, time: seconds + compute, compute: compute,
        communication: seconds, bytes: traffic,
        memory: shard + rate.workspaceBytes
          + Traffic.keyRowBytes(shape) * shape.keyLength, hiddenFrom: nil)
    case .alltoall:
      let heads = try HeadDeal(shape, ranks: ranks)
      let most = (0..<ranks).map { heads.kvHeadRange(of: $0).count }.max() ?? 0
      compute = all * Double(most) / Double(shape.kvHeads)
      let traffic = Traffic.headsForRows(shape, deal: heads, queries: queries, keys: keys).largest
      let seconds = link.seconds(bytes: Double(traffic), messages: 2 * others)
      let whole =
        e * shape.batch * most
        * (shape.queryLength * shape.groupSize * (wide + 1) + shape.keyLength * wide)
      return Prediction(
        scheme: scheme, ranks: ranks, time: seconds + compute, compute: compute,
        communication: seconds, bytes: traffic, memory: shard + whole + rate.workspaceBytes,
        hiddenFrom: nil)
    case .halo:
      let halo = try Halo(strategy, problem, queries: queries, keys: keys)
      let sent = (0..<ranks).map(halo.rowsSent)
      let traffic = Traffic.rowsThatAreSeen(shape, rows: sent).largest
      let needed = halo.needs.map { $0.reduce(0) { $0 + $1.rows.count } }.max() ?? 0
      let seconds = ranks == 1 ? 0 : link.seconds(bytes: Double(traffic))
      // What comes hides behind the own keys alone, and is worked on afterwards.
      let time = (0..<ranks).map { rank in
        let own = all * shares.ofOwnKeys(rank)
        return max(own, seconds) + all * shares.ofRank(rank) - own
      }.max()
      return Prediction(
        scheme: scheme, ranks: ranks, time: time ?? compute, compute: compute,
        communication: seconds, bytes: traffic,
        memory: shard + rate.workspaceBytes + Traffic.keyRowBytes(shape) * needed,
        hiddenFrom: nil)
    case .states:
      guard strategy.keepsState, strategy.operands.contains(where: { $0.name == "state" }),
        problem.visibility.causal
      else {
        throw AttentionError(
          .invalidArgument, argument: "scheme", value: scheme.rawValue,
          advice: "\(strategy.spec(for: problem)) gives no state to go on from; take "
            + (strategy.isSliceable ? "ring" : "alltoall"))
      }
      let traffic = Traffic.states(shape, stateRows: shape.headDim, ranks: ranks).largest
      let heads = strategy.dependsOnHeadNumbers ? shape.batch : shape.batch * shape.kvHeads
      let piece = compute / Double(heads)
      let state = Double(traffic) / Double(heads)
      let seconds = link.seconds(bytes: state) * others
      // The first head passes all ranks; the others follow as fast as ranks compute and the link carries.
      let next = max(piece, ranks == 1 ? 0 : link.seconds(bytes: state, messages: 0))
      return Prediction(
        scheme: scheme, ranks: ranks,
        time: piece * Double(ranks) + seconds + next * Double(heads - 1), compute: compute,
        communication: seconds, bytes: traffic,
        memory: shard + rate.workspaceBytes + 2 * traffic, hiddenFrom: nil)
    }
  }

  /// The shares of all work that ranks have by their rows.
  private func shares(_ queries: ShardLayout, _ keys: ShardLayout) -> WorkShares {
    WorkShares(
      ofRanks: (0..<queries.ranks).map { rank in
        queries.segments(rank).reduce(0.0) { sum, segment in
          guard let pattern else { return sum + Double(segment.rows.count) }
          return sum + Double(pattern.pairs(of: segment.rows))
        }
      },
      ownKeys: { rank in
        guard let pattern else { return 0 }
        return queries.segments(rank).reduce(0.0) { sum, segment in
          keys.segments(rank).reduce(sum) {
            $0 + Double(pattern.pairs(of: segment.rows, in: $1.rows))
          }
        }
      })
  }
}

/// How much of all work ranks have.
private struct WorkShares {
  private let counts: [Double]
  private let sum: Double
  private let ownKeys: (Int) -> Double

  /// Work of each rank, and what of it is on the rank's own keys, in one unit.
  init(ofRanks counts: [Double], ownKeys: @escaping (Int) -> Double) {
    self.counts = counts
    self.ownKeys = ownKeys
    sum = max(counts.reduce(0, +), 1)
  }

  var largest: Double { (counts.max() ?? 0) / sum }

  func ofRank(_ rank: Int) -> Double { counts[rank] / sum }
  func ofOwnKeys(_ rank: Int) -> Double { ownKeys(rank) / sum }
}

extension KeyPattern {
  /// The pairs of some rows, with some keys if not with all. Of many rows every 16th counts for those after it:
  /// neighbours see about as many keys.
  package func pairs(of rows: Range<Int>, in keys: Range<Int>? = nil) -> Int {
    let step = rows.count > 100_000 ? 16 : 1
    var total = 0
    for pass in rowStrides.indices {
      let sequences = sequences(pass: pass, residue: 0)
      let places = sequences.map { sequence in keys.map { sequence.places(in: $0) } }
      for row in stride(from: rows.lowerBound, to: rows.upperBound, by: step) {
        for index in sequences.indices {
          let seen = range(pass: pass, sequence: index, position: row + geometry.offset)
          total += step * (places[index].map { seen.clamped(to: $0) } ?? seen).count
        }
      }
    }
    return total
  }
}
