import Attention
import AttentionBench
import MachineTopology

/// A choice beside what brute force finds.
struct Verdict {
  let work: String
  let limit: Double
  /// What recommend chooses.
  let choice: Candidate
  /// The fastest of all candidates whose error on the fresh rows is within the limit.
  let best: Candidate
  /// The error of the choice as recommend held it against the limit.
  let claimedError: Double
  /// Candidates that brute force looked at.
  let surveyed: Int
  /// Candidates that recommend looked at.
  let searched: Int

  /// How much longer the choice takes than the best.
  var regret: Double { (choice.seconds ?? .infinity) / (best.seconds ?? 1) - 1 }
  /// Whether the choice loses more than was asked for, on the fresh rows.
  var isViolated: Bool { (choice.relativeError ?? .infinity) > limit }
}

/// Holds the choices for one problem against brute force.
struct Check {
  let work: Work
  let placement: SweepPlacement
  let topology: MachineTopology
  /// The rows recommend measures errors on.
  let errorRows: ErrorRows
  /// Rows of each head in the fresh sample.
  let freshRows: Int
  let seed: UInt64
  let say: (String) -> Void

  /// One verdict a limit.
  func run(limits: [Double]) throws -> [Verdict] {
    let executor = try executor()
    var choices: [(limit: Double, result: Recommendation)] = []
    for limit in limits {
      let engine = engine(
        executor, series: try series(.search), limit: limit, rows: errorRows, seed: seed)
      if let result = try engine.run() { choices.append((limit, result)) }
    }
    // Other tensors objects, another seed: nothing of the choices is used again.
    let brute = engine(
      try self.executor(),
      series: try series(.exhaustive)
        + choices.compactMap {
          try $0.result.choice.map { [try StrategyRegistry.standard.strategy($0)] }
        },
      limit: nil, rows: .perHead(freshRows), seed: seed &+ 1000)
    let surveyed = try brute.survey().filter { $0.seconds != nil }
    return try choices.compactMap { limit, result in
      try verdict(limit, result, surveyed, brute)
    }
  }

  private func verdict(
    _ limit: Double, _ result: Recommendation, _ surveyed: [Candidate], _ brute: ChoiceEngine
  ) throws -> Verdict? {
    guard result.verdict == .admissible, let choice = result.choice,
      let claimed = result.candidates.first(where: { $0.strategy == choice })
    else {
      say("\(work.name), error \(limit): nothing admissible was found")
      return nil
    }
    let admissible = surveyed.filter { ($0.relativeError ?? .infinity) <= limit }
      .sorted { ($0.seconds ?? 0) < ($1.seconds ?? 0) }
    let fastest = admissible.first?.seconds ?? .infinity
    let rivals = admissible.prefix { ($0.seconds ?? 0) <= 1.4 * fastest }.prefix(20)
      .map(\.strategy)
    let timed = try brute.timeBeside(Array(Set(rivals + [choice])).sorted())
    guard let own = timed.first(where: { $0.strategy == choice }),
      let best = timed.filter({ ($0.relativeError ?? .infinity) <= limit })
        .min(by: { ($0.seconds ?? .infinity) < ($1.seconds ?? .infinity) }) ?? timed.first
    else { return nil }
    return Verdict(
      work: work.name, limit: limit, choice: own, best: best,
      claimedError: claimed.relativeErrorUpper ?? .infinity, surveyed: surveyed.count,
      searched: result.candidates.count)
  }

  private func executor() throws -> AttentionExecutor {
    try AttentionExecutor(
      placements: [placement], inputs: work.inputs, seed: seed, topology: topology,
      keepsTensors: true)
  }

  private func series(_ density: SearchDensity) throws -> [[any AttentionStrategy]] {
    try StrategyRegistry.standard.candidateSeries(for: work.problem, density: density)
  }

  private func engine(
    _ executor: AttentionExecutor, series: [[any AttentionStrategy]], limit: Double?,
    rows: ErrorRows, seed: UInt64
  ) -> ChoiceEngine {
    var limits = SweepLimits.host()
    limits.relativeInterval = 0.03
    return ChoiceEngine(
      ChoiceEngine.Question(
        problem: work.problem, placement: placement, series: series,
        requirements: Requirements(maximumError: limit), errorRows: rows, seed: seed),
      limits: limits,
      instruments: ChoiceEngine.Instruments(
        executor: executor, clock: MonotonicClock(), probe: HostProbe(cpus: topology.allowed)),
      labels: RowLabels(
        runID: "choose-check",
        build: ResultRow.Build(blasCore: BLASLibrary.core, isa: KernelTable.active.name)))
  }
}
