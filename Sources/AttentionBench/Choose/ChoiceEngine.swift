import Attention

/// Measures what could be run for a problem and keeps what a choice needs to know.
///
/// Three steps. Every family's series of candidates are searched: a look at a candidate is a few
/// runs and its error, and between one whose error is too large and a dearer one whose is not the
/// middle is looked at next. Those that may be chosen are then timed side by side, in interleaved
/// rounds. The choice itself is `Recommendation`. Which strategy is measured plays no part anywhere.
public final class ChoiceEngine {
  /// What is chosen for, and from what.
  public struct Question {
    public var problem: AttentionProblem
    /// Workers and their places.
    public var placement: SweepPlacement
    /// Series of candidates, see `StrategyRegistry.candidateSeries`.
    public var series: [[any AttentionStrategy]]
    /// What is asked of the choice.
    public var requirements: Requirements
    /// The rows that errors are measured on.
    public var errorRows = ErrorRows.automatic
    /// Seeds inputs, sampled rows and the order of the rounds.
    public var seed: UInt64

    public init(
      problem: AttentionProblem, placement: SweepPlacement, series: [[any AttentionStrategy]],
      requirements: Requirements, errorRows: ErrorRows = .automatic, seed: UInt64 = 1
    ) {
      self.problem = problem
      self.placement = placement
      self.series = series
      self.requirements = requirements
      self.errorRows = errorRows
      self.seed = seed
    }
  }

  /// The parts that tests replace.
  public struct Instruments {
    let executor: any ChoiceExecutor
    let clock: any SweepClock
    let probe: any MachineProbe

    /// Joins the parts.
    public init(
      executor: any ChoiceExecutor, clock: any SweepClock, probe: any MachineProbe
    ) {
      self.executor = executor
      self.clock = clock
      self.probe = probe
    }
  }

  /// A candidate that was looked at.
  struct Assessment {
    let cell: SweepCell
    var row: ResultRow
    let errors: HeadErrors?

    var candidate: Candidate { Candidate(row, errors: errors) }
    var seconds: Double? { row.status.isMeasured ? row.time.median : nil }
  }

  /// A candidate this much slower than the best one, by the few runs of the search, is not timed
  /// any further.
  static let contenderFactor = 1.3
  /// One that much slower is not looked at again either.
  static let doubtFactor = 3.0
  /// The share of the budget that the search may take.
  static let searchShare = 0.6

  let question: Question
  let limits: SweepLimits
  let instruments: Instruments
  let labels: RowLabels
  let stop: StopFlag
  private let emit: (SweepEvent) -> Void
  private let start: UInt64
  private var forecast = SweepForecast()
  private var flopRates: [Arithmetic: Double] = [:]
  /// By the strategy with its parameters resolved.
  private(set) var assessments: [String: Assessment] = [:]
  /// In the order of the looks.
  private var order: [String] = []

  /// An engine; `run` does the work.
  ///
  /// - Parameters:
  ///   - limits: time and memory; its samples and interval are those of the final timing.
  ///   - stop: ends the measurement after the run under way.
  public init(
    _ question: Question, limits: SweepLimits, instruments: Instruments, labels: RowLabels,
    stop: StopFlag = StopFlag(), emit: @escaping (SweepEvent) -> Void = { _ in }
  ) {
    self.question = question
    self.limits = limits
    self.instruments = instruments
    self.labels = labels
    self.stop = stop
    self.emit = emit
    start = instruments.clock.now()
  }

  /// Searches, times and chooses; call it once.
  ///
  /// - Returns: nil when it was stopped.
  /// - Throws: when tensors or the reference cannot be had.
  public func run() throws -> Recommendation? {
    let goal: ChoiceGoal = question.requirements.holdsForEachHead ? .everyHead : .whole
    try search(for: [goal])
    try time(contenders(for: [goal]))
    return stop.isRaised ? nil : recommendation
  }

  /// The choice among everything measured so far.
  public var recommendation: Recommendation {
    Recommendation(
      candidates: order.compactMap { assessments[$0]?.candidate },
      requirements: question.requirements)
  }

  /// Searches all series.
  ///
  /// - Parameter goals: where the error has to be small enough.
  func search(for goals: [ChoiceGoal]) throws {
    let executor = instruments.executor
    try executor.load(question.problem)
    defer { executor.unload() }
    let strategies = question.series.joined()
    for arithmetic in Arithmetic.allCases
    where arithmetic == .float32 || strategies.contains(where: { $0.arithmetic == arithmetic }) {
      let bursts = try (0..<3).map { _ in
        try executor.flopRate(on: question.placement, in: arithmetic)
      }
      guard let rate = SampleSummary(bursts)?.median else { continue }
      flopRates[arithmetic] = rate
      forecast.learn(
        flopRate: rate, threads: question.placement.threads, arithmetic: arithmetic)
    }
    try executor.prepareReference(
      rows: question.errorRows, exact: referenceStrategy(), placement: question.placement,
      seed: question.seed)
    var search = SeriesSearch(counts: question.series.map(\.count), goals: goals.count)
    var places = search.first
    while !places.isEmpty {
      for place in places {
        if stop.isRaised { return }
        let assessment = try look(at: question.series[place.series][place.index])
        search.note(
          SeriesSearch.Look(
            seconds: assessment.seconds, meets: goals.map { meets(assessment, $0) }),
          at: place)
      }
      places = search.next
    }
    try lookAgain(for: goals)
  }

  /// Runs those once more that would be left out for their time: what disturbed a whole look is over by
  /// now, or else the other candidates have suffered from it as well.
  private func lookAgain(for goals: [ChoiceGoal]) throws {
    var doubtful: Set<String> = []
    for goal in goals {
      let meeting = assessments.values.filter { meets($0, goal) }
      let best = meeting.compactMap(\.seconds).min() ?? 0
      for one in meeting {
        let seconds = one.seconds ?? .infinity
        if seconds > Self.contenderFactor * best, seconds <= Self.doubtFactor * best {
          doubtful.insert(one.cell.spec)
        }
      }
    }
    for one in order.filter(doubtful.contains).compactMap({ assessments[$0] }) {
      if stop.isRaised || (searchTimeLeft ?? .infinity) < 0 { return }
      let prepared = try instruments.executor.prepare(one.cell)
      let measurement = try run(prepared, threads: one.cell.placement.threads)
      guard let median = measurement.summary?.median, median < one.seconds ?? .infinity else {
        continue
      }
      assessments[one.cell.spec]?.row.fill(
        measurement, flopRate: flopRates[one.cell.strategy.arithmetic],
        workspaceBytes: prepared.workspaceBytes)
    }
  }

  /// Whether a candidate keeps to what can be said of it alone: its error, and its memory.
  func meets(_ assessment: Assessment, _ goal: ChoiceGoal) -> Bool {
    guard let errors = assessment.errors, assessment.seconds != nil else { return false }
    let requirements = question.requirements
    if let limit = requirements.maximumError, goal.estimate(in: errors).upper > limit {
      return false
    }
    if let limit = requirements.maximumMemoryBytes, let bytes = assessment.candidate.memoryBytes {
      return bytes <= limit
    }
    return true
  }

  /// Those that may be chosen for some goal: the fastest that meet it, and what is not clearly
  /// slower; where nothing meets it, what comes nearest.
  func contenders(for goals: [ChoiceGoal]) -> [SweepCell] {
    var chosen: Set<String> = []
    for goal in goals {
      let meeting = assessments.values.filter { meets($0, goal) }
      if let best = meeting.compactMap(\.seconds).min() {
        for one in meeting where (one.seconds ?? .infinity) <= Self.contenderFactor * best {
          chosen.insert(one.cell.spec)
        }
      } else if let nearest = nearest(to: goal) {
        chosen.insert(nearest.cell.spec)
      }
    }
    if let choice = recommendation.choice { chosen.insert(choice) }
    return order.filter(chosen.contains).compactMap { assessments[$0]?.cell }
  }

  /// The measured candidate with the least error for a goal.
  private func nearest(to goal: ChoiceGoal) -> Assessment? {
    func error(_ one: Assessment) -> Double {
      one.errors.map { goal.estimate(in: $0).upper } ?? .infinity
    }
    return assessments.values.filter { $0.seconds != nil }
      .min { (error($0), $0.cell.spec) < (error($1), $1.cell.spec) }
  }

  /// Times cells of one problem side by side; what was measured of them before is replaced.
  func time(_ cells: [SweepCell], isFinal: Bool = false) throws {
    for row in try rows(of: cells, isFinal: isFinal) where row.status.isMeasured {
      let spec = Candidate(row).strategy
      assessments[spec]?.row = row
    }
  }

  /// Runs cells of one problem in interleaved rounds.
  ///
  /// - Parameter isFinal: whether small differences matter, as between a mix and what it replaces.
  func rows(of cells: [SweepCell], isFinal: Bool = false) throws -> [ResultRow] {
    guard let problem = cells.first?.problem, !stop.isRaised else { return [] }
    let plan = SweepPlan(
      sizes: [problem.shape.queryLength], strategies: cells.map(\.strategy),
      placements: [question.placement], seed: question.seed
    ) { _ in problem }
    var limits = limits
    if isFinal {
      limits.minimumSamples = max(limits.minimumSamples, 11)
      limits.relativeInterval = min(limits.relativeInterval, 0.02)
    }
    limits.endsTogether = true
    limits.budget = limits.budget.map { max(SweepLimits.leastAllowance, $0 - elapsed) }
    let store = ResultCollector()
    let outcome = try SweepEngine(
      plan: plan, limits: limits,
      instruments: SweepEngine.Instruments(
        executor: instruments.executor, clock: instruments.clock, probe: instruments.probe,
        store: store),
      labels: labels, stop: stop, emit: emit
    ).run()
    return outcome.rows
  }

  /// A cell of the question's problem.
  func cell(_ strategy: any AttentionStrategy) -> SweepCell {
    SweepCell(
      problem: question.problem, n: question.problem.shape.queryLength, strategy: strategy,
      placement: question.placement, curve: 0)
  }

  /// The exact strategy that needs the least memory, for all rows of full attention; nil where
  /// running it would take longer than one candidate may.
  private func referenceStrategy() -> (any AttentionStrategy)? {
    let exact = question.series.joined().filter { $0.operatorClass == .exact }.map(cell)
      .filter { limits.memoryRefusal(of: $0) == nil }
    func workspace(_ cell: SweepCell) -> Int { (try? cell.work.get().workspaceBytes) ?? .max }
    guard let cell = exact.min(by: { workspace($0) < workspace($1) }),
      let prediction = forecast.estimate(of: cell),
      limits.timeRefusal(prediction, budgetLeft: searchTimeLeft) == nil
    else { return nil }
    return cell.strategy
  }

  private var elapsed: Double { Double(instruments.clock.now() - start) / 1e9 }

  private var searchTimeLeft: Double? { limits.budget.map { Self.searchShare * $0 - elapsed } }
}

extension ChoiceEngine {
  /// Runs a candidate a few times and measures its error; once for each strategy.
  @discardableResult
  func look(at strategy: any AttentionStrategy) throws -> Assessment {
    let cell = cell(strategy)
    if let known = assessments[cell.spec] { return known }
    emit(.cellStarted(cell))
    let assessment = try assess(cell)
    assessments[cell.spec] = assessment
    order.append(cell.spec)
    emit(.candidateSeen(assessment.candidate))
    return assessment
  }

  private func assess(_ cell: SweepCell) throws -> Assessment {
    func ended(_ status: Status, _ reason: String) -> Assessment {
      Assessment(
        cell: cell, row: labels.row(for: cell, status: status, reason: reason), errors: nil)
    }
    if case .failure(let error) = cell.work { return ended(.error, "\(error)") }
    if let reason = limits.memoryRefusal(of: cell) { return ended(.skippedMemory, reason) }
    if let bound = forecast.lowerBound(of: cell),
      let reason = limits.timeRefusal(bound, budgetLeft: searchTimeLeft)
    {
      return ended(.skippedTime, reason)
    }
    do {
      let prepared = try instruments.executor.prepare(cell)
      try instruments.executor.clearOutput()
      let measurement = try run(prepared, threads: cell.placement.threads)
      let errors = try instruments.executor.headErrors()
      guard errors.whole.value.isFinite else {
        return ended(
          .error, "the output has elements that are not finite where the reference is")
      }
      let count = measurement.samples.count
      var row = labels.row(
        for: cell, status: .lowSamples, reason: "\(count) run\(count == 1 ? "" : "s") in the search"
      )
      row.fill(
        measurement, flopRate: flopRates[cell.strategy.arithmetic],
        workspaceBytes: prepared.workspaceBytes)
      row.accuracy.relativeL2 = errors.whole.value
      row.accuracy.rowsChecked = errors.rowsChecked
      return Assessment(cell: cell, row: row, errors: errors)
    } catch let error as AttentionError {
      return ended(.error, "\(error)")
    }
  }

  /// Runs of a candidate that take so long together, in seconds, tell it from another: what else
  /// happens on a machine mostly disturbs shorter.
  private static let lookTime = 0.03
  /// Runs of a look, at least and at most, where one takes less than a tenth of a second.
  private static let lookRuns = 3...50

  /// Some runs: one that takes seconds is its own warm-up, short ones are repeated.
  private func run(_ prepared: any PreparedCell, threads: Int) throws -> CellMeasurement {
    var measurement = CellMeasurement(threads: threads, cpus: nil)
    let clock = instruments.clock
    func once() throws -> Double {
      prepared.arm()
      let began = clock.now()
      try prepared.run()
      return Double(clock.now() - began) / 1e9
    }
    let first = try once()
    let fitting = Int(min(Self.lookTime / max(first, 1e-9), Double(Self.lookRuns.upperBound)))
    let repeats = first > 1 ? 0 : first > 0.1 ? 1 : max(fitting, Self.lookRuns.lowerBound)
    for index in 0..<max(repeats, 1) {
      let seconds = repeats == 0 ? first : try once()
      measurement.add(
        SampleRow(
          runID: labels.runID, cellID: "", index: index, round: 0, time: seconds, cpuTime: 0,
          startedAt: 0), from: Interference(), to: Interference())
    }
    return measurement
  }
}
