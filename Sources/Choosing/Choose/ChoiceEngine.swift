import Attention
import Measuring
import Records
import Statistics
import Units

/// Measures what could be run for a problem and keeps what a choice needs to know.
///
/// Three steps. Every family's series of candidates are searched: a look at a candidate is a few
/// runs and its error, and between one whose error is too large and a dearer one whose is not the
/// middle is looked at next. What would take long to look at and, by its counted work and the rate of
/// its series at a small size, cannot be the fastest is passed over. Those that may be chosen are then
/// timed side by side, in interleaved rounds. The choice itself is `Recommendation`. Which strategy is
/// measured plays no part anywhere.
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

  /// A candidate that was looked at, or passed over for what it would take at least.
  struct Assessment {
    let cell: SweepCell
    var row: ResultRow
    var errors: HeadErrors?
    var predictedSeconds: Double?

    var candidate: Candidate {
      Candidate(row, errors: errors, predictedSeconds: predictedSeconds)
    }
    var seconds: Double? { row.status.isMeasured ? row.time.median : nil }
  }

  /// A candidate this much slower than the best one, by the few runs of the search, is not timed
  /// any further.
  static let contenderFactor = 1.3
  /// One that much slower is not looked at again either.
  static let doubtFactor = 3.0
  /// The share of the budget that the search may take.
  static let searchShare = 0.6
  /// A run of so many seconds is long: it is known well enough from once.
  static let longRun = 1.0

  let question: Question
  let limits: SweepLimits
  let instruments: Instruments
  let labels: RowLabels
  let stop: StopFlag
  let emit: (ChoiceEvent) -> Void
  private let start: UInt64
  var forecast = SweepForecast()
  var flopRates: [Arithmetic: Double] = [:]
  /// Whether the table has been told of that comes before everything is measured.
  var hasToldFirstTable = false
  /// The longest that a pilot or a look has taken, in seconds: the next may take as long, whatever is
  /// predicted, where something else runs on the machine.
  var longestStep = 0.0
  /// What has taken time, in the order in which it began, in seconds.
  private var spent: [(what: String, seconds: Double)] = []
  /// By the strategy with its parameters resolved.
  private(set) var assessments: [String: Assessment] = [:]
  /// In the order of the looks.
  private(set) var order: [String] = []
  /// The series that a strategy stands in.
  private let places: [String: Int]
  /// Counting the work of a pattern takes time: once for each strategy.
  private var cells: [String: SweepCell] = [:]

  /// An engine; `run` does the work.
  ///
  /// - Parameters:
  ///   - limits: time and memory; its samples and interval are those of the final timing.
  ///   - stop: ends the measurement after the run under way.
  public init(
    _ question: Question, limits: SweepLimits, instruments: Instruments, labels: RowLabels,
    stop: StopFlag = StopFlag(), emit: @escaping (ChoiceEvent) -> Void = { _ in }
  ) {
    self.question = question
    self.limits = limits
    self.instruments = instruments
    self.labels = labels
    self.stop = stop
    self.emit = emit
    start = instruments.clock.now()
    let specs = question.series.enumerated().flatMap { series, strategies in
      strategies.map { ($0.spec(for: question.problem), series) }
    }
    places = Dictionary(specs) { first, _ in first }
  }

  /// Searches, times and chooses; call it once.
  ///
  /// - Returns: nil when it was stopped.
  /// - Throws: when tensors or the reference cannot be had.
  public func run() throws -> Recommendation? {
    let goal: ChoiceGoal = question.requirements.holdsForEachHead ? .everyHead : .whole
    try search(for: [goal])
    let cells = contenders(for: [goal])
    tellFirstTable(
      before: cells.reduce(0) { $0 + seconds(of: $1) } * Double(limits.minimumSamples))
    // Among one there is nothing to tell apart, and a run that takes long is known well enough.
    if cells.count > 1 || cells.contains(where: { seconds(of: $0) < Self.longRun }) {
      try time(cells)
    }
    return stop.isRaised ? nil : recommendation
  }

  /// The choice among everything measured so far.
  public var recommendation: Recommendation {
    Recommendation(
      candidates: order.compactMap { assessments[$0]?.candidate },
      requirements: question.requirements)
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

  /// Times cells of one problem side by side; what was measured of them before is replaced, also
  /// where an output turned out to be wrong.
  func time(_ cells: [SweepCell], isFinal: Bool = false) throws {
    for row in try spending(on: "timing side by side", { try rows(of: cells, isFinal: isFinal) })
    where row.status.isMeasured || row.status == .wrong {
      assessments[Candidate(row).strategy]?.row = row
    }
  }

  /// Replaces what is known of a candidate, or adds one.
  func keep(_ assessment: Assessment) {
    let spec = assessment.cell.spec
    if assessments.updateValue(assessment, forKey: spec) == nil { order.append(spec) }
  }

  /// The time of a run of a candidate as far as it is known.
  func seconds(of cell: SweepCell) -> Double { assessments[cell.spec]?.seconds ?? 0 }

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
    // What a search has come to is timed at least once, however little of the budget it has left:
    // each cell has its share of that, and none is refused for the time the others took.
    if let budget = limits.budget {
      let share = max(SweepLimits.leastAllowance, budget - elapsed) / Double(cells.count)
      let longest = cells.map { seconds(of: $0) }.max() ?? 0
      let allowance = max(share, longest > SweepLimits.warmUpLimit ? longest : 2 * longest)
      if allowance < limits.cellTimeout {
        limits.cellTimeout = allowance
        limits.wording.cellTimeout =
          "\(TimeSpan.rounded(seconds: allowance)), its share of --budget \(limits.wording.budget)"
      }
      limits.budget = nil
    }
    let store = ResultCollector()
    let outcome = try SweepEngine(
      plan: plan, limits: limits,
      instruments: SweepEngine.Instruments(
        executor: instruments.executor, clock: instruments.clock, probe: instruments.probe,
        store: store),
      labels: labels, stop: stop, emit: { [emit] in emit(.measuring($0)) }
    ).run()
    return outcome.rows
  }

  /// A cell of the question's problem.
  func cell(_ strategy: any AttentionStrategy) -> SweepCell {
    let spec = strategy.spec(for: question.problem)
    if let known = cells[spec] { return known }
    let cell = SweepCell(
      problem: question.problem, n: question.problem.shape.queryLength, strategy: strategy,
      placement: question.placement, curve: places[spec] ?? -1)
    cells[spec] = cell
    return cell
  }

  /// Enters what `body` takes into the account of time.
  func spending<Result>(on what: String, _ body: () throws -> Result) rethrows -> Result {
    let began = elapsed
    defer {
      let seconds = elapsed - began
      if let index = spent.firstIndex(where: { $0.what == what }) {
        spent[index].seconds += seconds
      } else {
        spent.append((what, seconds))
      }
    }
    return try body()
  }

  /// A budget that is exceeded by less than this share of it has been kept to.
  private static let overrun = 0.2

  /// Where the time of a budget went that was too short for some candidate, or was not kept to; nil where it
  /// was enough.
  public var budgetAccount: String? {
    guard let budget = limits.budget else { return nil }
    let isTooShort = assessments.values.contains {
      $0.row.status == .skippedTime && $0.predictedSeconds == nil
    }
    let all = spent.reduce(0) { $0 + $1.seconds }
    guard isTooShort || all > (1 + Self.overrun) * budget else { return nil }
    let parts = spent.filter { $0.seconds >= 0.005 * budget }
      .map { "\(TimeSpan.rounded(seconds: $0.seconds)) on \($0.what)" }
    return "--budget \(limits.wording.budget) was too short"
      + (isTooShort
        ? " to look at everything; the search may take \(Int(100 * Self.searchShare))% of it" : "")
      + ", and the time went: "
      + (parts.isEmpty ? "nowhere, it is that short" : parts.joined(separator: ", "))
      + "; a longer --budget looks at more"
  }

  var elapsed: Double { Double(instruments.clock.now() - start) / 1e9 }

  var searchTimeLeft: Double? { limits.budget.map { Self.searchShare * $0 - elapsed } }
}
