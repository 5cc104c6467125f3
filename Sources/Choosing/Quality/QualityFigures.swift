import Attention
import MachineTopology
import Measuring
import Records
import Statistics
import Units

/// What is known of candidates beyond time, memory and the sampled error: certified bounds, and
/// the share of needles found.
///
/// Made after a choice, from its candidates: only what was measured is looked at, and what would take too
/// long or too much memory is left out and said so.
public struct QualityFigures: Sendable {
  /// By strategy with its parameters; restricted ones only.
  public private(set) var certificates: [String: MassCertificate] = [:]
  /// By query head, where each head has a strategy of its own; restricted ones only.
  public private(set) var headCertificates: [Int: MassCertificate] = [:]
  /// The share of needles found over all distances, by strategy.
  public private(set) var foundShares: [String: Double] = [:]
  /// Why figures are missing, one sentence each.
  public private(set) var notes: [String] = []

  private let problem: AttentionProblem
  private let team: WorkerTeam
  private let measured: [Measured]
  private let memoryLimit: ByteCount
  private let stop: StopFlag

  /// A strategy that was measured, and how long a run took.
  private struct Measured {
    let strategy: any AttentionStrategy
    let name: String
    let seconds: Double
  }

  /// No figures yet.
  ///
  /// - Parameters:
  ///   - candidates: what was measured on `problem`; the ones that were not are passed over.
  ///   - registry: knows the candidates by their names.
  ///   - memoryLimit: what tensors and workspace may take together.
  ///   - stop: ends the work after the run under way.
  /// - Throws: `AttentionError` for a candidate that the registry does not know.
  public init(
    _ problem: AttentionProblem, candidates: [Candidate],
    registry: StrategyRegistry = .standard, team: WorkerTeam, memoryLimit: ByteCount,
    stop: StopFlag
  ) throws(AttentionError) {
    self.problem = problem
    self.team = team
    self.memoryLimit = memoryLimit
    self.stop = stop
    var measured: [Measured] = []
    for candidate in candidates {
      guard let seconds = candidate.seconds else { continue }
      measured.append(
        Measured(
          strategy: try registry.strategy(candidate.strategy), name: candidate.strategy,
          seconds: seconds))
    }
    self.measured = measured.sorted { $0.seconds < $1.seconds }
  }

  /// Certifies every restricted strategy, the fastest first.
  ///
  /// - Parameters:
  ///   - seconds: what it may take; predicted, from the rates that were measured.
  ///   - tensors: the ones that were measured on; asked for only where there is a strategy to
  ///     certify, and time and memory for it.
  /// - Throws: what `tensors` throws, and `AttentionError` when memory is refused.
  public mutating func certify(
    within seconds: Double, tensors: ([OperandDeclaration]) throws -> ProblemTensors
  ) throws {
    try certify(measured, within: seconds, tensors: tensors) { certifier, candidate, figures in
      figures.certificates[candidate.name] = try certifier.certificate(of: candidate.strategy)
    }
  }

  /// Certifies the strategy of each query head on that head.
  ///
  /// - Parameter strategies: the name of each head's strategy.
  /// - Throws: as `certify(within:tensors:)` does.
  public mutating func certify(
    heads strategies: [String], within seconds: Double,
    tensors: ([OperandDeclaration]) throws -> ProblemTensors
  ) throws {
    let heads = Dictionary(grouping: strategies.indices) { strategies[$0] }
    let used = measured.filter { heads[$0.name] != nil }
    try certify(used, within: seconds, tensors: tensors) { certifier, candidate, figures in
      let found = try certifier.certificates(
        of: candidate.strategy, heads: heads[candidate.name] ?? [])
      figures.headCertificates.merge(found) { _, new in new }
    }
  }

  /// Does something with each restricted strategy for which time and memory suffice.
  private mutating func certify(
    _ candidates: [Measured], within seconds: Double,
    tensors: ([OperandDeclaration]) throws -> ProblemTensors,
    _ body: (MassCertifier, Measured, inout QualityFigures) throws -> Void
  ) throws {
    let restricted = candidates.filter { $0.strategy.operatorClass == .restricted }
    guard !restricted.isEmpty else { return }
    let fullSeconds = try predictedFullSeconds()
    let bytes = 2 * problem.tensorBytes
    guard fullSeconds <= seconds else {
      notes.append(
        "no certified bound: scoring every pair once would take about "
          + "\(TimeSpan.rounded(seconds: fullSeconds)), and \(TimeSpan.rounded(seconds: seconds)) "
          + "are left of the budget")
      return
    }
    guard ByteCount(bytes) <= memoryLimit else {
      notes.append(
        "no certified bound: it needs \(ByteCount(bytes).rounded) of memory, "
          + "\(memoryLimit.rounded) may be used")
      return
    }
    if stop.isRaised { return }
    let certifier = try MassCertifier(
      problem, tensors: try tensors(MixedAttention(restricted.map(\.strategy)).operands), team: team
    )
    var left = seconds - fullSeconds
    for candidate in restricted where !stop.isRaised {
      // Once as it is and once with one value column.
      left -= 2 * candidate.seconds
      guard left >= 0 else {
        notes.append("no certified bound for \(candidate.name): the budget is spent")
        continue
      }
      try body(certifier, candidate, &self)
    }
  }

  /// Looks for needles with every strategy that was measured.
  ///
  /// - Throws: `PlanError` when no needles can be planted in this problem, `AttentionError` when
  ///   memory is refused.
  public mutating func retrieve(seed: UInt64) throws {
    let task = try RetrievalTask(problem, needles: 128, seed: seed)
    let outcomes = try RetrievalRunner(team: team, memoryLimit: memoryLimit)
      .run(task, measured.map(\.strategy), stop: stop)
    for (candidate, outcome) in zip(measured, outcomes) {
      switch outcome {
      case .measured(let result): foundShares[candidate.name] = result.overallShare
      case .notRun(let strategy, let reason):
        notes.append("no needles for \(strategy): \(reason)")
      }
    }
  }

  /// The scores of all pairs and a few value columns, at the best rate that softmax was measured at.
  private func predictedFullSeconds() throws(AttentionError) -> Double {
    let flash = try SoftmaxEngine().work(for: problem, threads: team.threadCount) {
      DensePattern($0)
    }
    var rate = 0.0
    for candidate in measured where candidate.strategy.operatorClass != .different {
      let work = try candidate.strategy.work(for: problem, threads: team.threadCount)
      rate = max(rate, Double(work.flops) / candidate.seconds)
    }
    let width = Double(problem.shape.headDim + MassCertifier.columns)
    return rate > 0 ? 2 * Double(flash.pairs) * width / rate : .infinity
  }
}

extension Recommendation {
  /// The same choice, with the figures beside the candidates they belong to.
  public func adding(_ figures: QualityFigures) -> Recommendation {
    var result = self
    result.candidates = candidates.map { candidate in
      var candidate = candidate
      candidate.certificate = figures.certificates[candidate.strategy]
      candidate.foundShare = figures.foundShares[candidate.strategy]
      return candidate
    }
    return result
  }
}

extension PerHeadRecommendation {
  /// The same choice, with the certificates beside the heads they belong to.
  public func adding(_ figures: QualityFigures) -> PerHeadRecommendation {
    var result = self
    for index in result.heads.indices {
      result.heads[index].certificate = figures.headCertificates[result.heads[index].head]
    }
    return result
  }
}

extension SweepInputs {
  /// The numbers that a sweep measures a problem on: rounded to its element types, in fp32, and the
  /// operands of strategies beside them.
  ///
  /// - Throws: `AttentionError` when memory is refused, or what reading the user's tensors throws.
  public func tensors(
    for problem: AttentionProblem, _ operands: [OperandDeclaration] = []
  ) throws -> ProblemTensors {
    let tensors: ProblemTensors
    switch self {
    case .normal(let seed): tensors = try ProblemTensors(random: problem.shape, seed: seed)
    case .tensors(let given):
      tensors = try ProblemTensors(problem.shape)
      try given.copy(query: tensors.query, key: tensors.key, value: tensors.value)
    }
    return try tensors.stored(as: problem.storage).stored(as: Storage())
      .with(self.operands(operands, for: problem.shape))
  }
}
