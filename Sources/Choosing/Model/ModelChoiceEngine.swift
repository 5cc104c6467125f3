import Attention
import Measuring
import Records
import Statistics
import Units

/// What a choice for a model tells while it runs. It prints nothing itself.
public enum ModelChoiceEvent: Sendable {
  /// A layer's candidates have been run: how many of them, and how many layers are done.
  case layerMeasured(ModelLayer, candidates: Int, done: Int, of: Int)
  /// A few candidates of every family have been run on a layer, to see which are worth more.
  case layerTried(ModelLayer, candidates: Int)
  /// The first trade-off, over the layers that it says are measured.
  case firstCurve(ModelChoice)
  /// A layer's part of the plan has been timed.
  case layerTimed(ModelLayer)
  case warning(String)
}

/// Chooses a strategy for every head of every layer of a model: the least time for attention over
/// all layers within a limit on the sum of the layers' weighted squared errors.
///
/// A candidate is run on all heads of a layer at once. The squared distance from full attention adds
/// up over heads, and so do times, so that the choice is an assignment (`ModelAssignment`). The time of
/// a candidate on one head is the median over all layers of the same problem. One layer is in memory at
/// a time. Which strategy is measured plays no part anywhere.
public final class ModelChoiceEngine {
  /// What is chosen for, and from what.
  public struct Question {
    /// In the order of their numbers; at least one.
    public var layers: [ModelLayer]
    /// Workers and their places.
    public var placement: SweepPlacement
    /// Series of candidates for a problem, see `StrategyRegistry.candidateSeries`.
    public var series: (AttentionProblem) throws -> [[any AttentionStrategy]]
    /// The limit on the root of the weighted sum of squared errors; nil asks for the curve alone.
    public var maximumTotalError: Double?
    /// The rows that errors are measured on.
    public var errorRows = ErrorRows.automatic
    /// Seeds the sampled and the checked rows.
    public var seed: UInt64

    public init(
      layers: [ModelLayer], placement: SweepPlacement,
      series: @escaping (AttentionProblem) throws -> [[any AttentionStrategy]],
      maximumTotalError: Double? = nil, errorRows: ErrorRows = .automatic, seed: UInt64 = 1
    ) {
      self.layers = layers
      self.placement = placement
      self.series = series
      self.maximumTotalError = maximumTotalError
      self.errorRows = errorRows
      self.seed = seed
    }
  }

  /// The parts that tests replace.
  public struct Instruments {
    let executor: (ModelLayer) throws -> any ChoiceExecutor
    let clock: any SweepClock

    /// - Parameter executor: of one layer's tensors; the one before is gone by then.
    public init(
      executor: @escaping (ModelLayer) throws -> any ChoiceExecutor, clock: any SweepClock
    ) {
      self.executor = executor
      self.clock = clock
    }
  }

  /// What each head adds to a layer's squared relative error, by strategy; nil for one that is not finite.
  private typealias Looks = [String: [Double?]]

  /// A run that takes so many seconds is its own warm-up.
  private static let longRun = 0.5
  /// Timed runs of a strategy over all layers of a problem, at least.
  private static let leastRuns = 6
  /// The share of the budget that the timing of the plan is left.
  private static let planShare = 0.15
  /// The share of the budget that trying all families may take.
  private static let trialShare = 0.2
  /// Seconds after which there is something to show at the latest.
  private static let firstCurveTime = 45.0

  private let question: Question
  private let budget: Double
  private let memoryBytes: Int
  private let instruments: Instruments
  private let stop: StopFlag
  private let emit: (ModelChoiceEvent) -> Void
  private let start: UInt64
  private var groups: [ModelCandidates] = []
  /// By place of the layer.
  private var looks: [Looks]
  /// What has been looked at, in runs of the baseline, and the seconds that took, all in.
  private var work = 0.0
  private var workSeconds = 0.0
  private var wrong: [String: String] = [:]
  private var hasShownCurve = false

  /// An engine; `run` does the work.
  ///
  /// - Parameters:
  ///   - budget: seconds for everything.
  ///   - memoryBytes: what a layer's tensors and a workspace may take together.
  ///   - stop: ends the measurement after the run under way.
  public init(
    _ question: Question, budget: Double, memoryBytes: Int, instruments: Instruments,
    stop: StopFlag = StopFlag(), emit: @escaping (ModelChoiceEvent) -> Void = { _ in }
  ) {
    self.question = question
    self.budget = budget
    self.memoryBytes = memoryBytes
    self.instruments = instruments
    self.stop = stop
    self.emit = emit
    start = instruments.clock.now()
    looks = Array(repeating: [:], count: question.layers.count)
  }

  /// Measures and chooses; call it once. What was stopped or ran out of its budget gives the choice
  /// among what was measured by then.
  ///
  /// - Returns: the choice, its mixes timed, and what it was made from.
  /// - Throws: when a layer's tensors or its reference cannot be had.
  public func run() throws -> (choice: ModelChoice, measurement: ModelMeasurement) {
    try group()
    for group in groups { try tryFamilies(group) }
    showFirstCurve()
    var done = 0
    for place in question.layers.indices where !isOver {
      guard let group = group(of: place) else { continue }
      let count = try look(at: group.chosen, place, group, repeats: repeats(of: group))
      done += 1
      emit(
        .layerMeasured(
          question.layers[place], candidates: count, done: done, of: question.layers.count))
    }
    var choice = choice()
    if question.maximumTotalError != nil { try time(&choice) }
    choice.wasInterrupted = stop.isRaised
    return (choice, measurement)
  }

  /// Everything measured so far.
  private var measurement: ModelMeasurement {
    ModelMeasurement(
      groups: groups.map { group in
        ModelMeasurement.Group(
          layers: group.layers.map { question.layers[$0].number },
          heads: group.problem.shape.heads, baseline: group.baseline.spec,
          baselineSeconds: baselineSeconds(of: group), candidates: group.timed)
      },
      layers: question.layers.enumerated().map { place, layer in
        // The baseline alone is no measurement, unless there is nothing to hold against it.
        let least = group(of: place)?.chosen.isEmpty ?? true ? 0 : 1
        return ModelMeasurement.Layer(
          number: layer.number, name: layer.name, isMeasured: looks[place].count > least,
          squaredErrors: looks[place])
      }, wrong: wrong.map { "\($0.key): \($0.value)" }.sorted())
  }

  /// The choice among everything measured so far.
  private func choice() -> ModelChoice {
    measurement.choice(
      within: question.maximumTotalError, sensitivities: question.layers.map(\.sensitivity))
  }

  /// The baseline's time on a layer of a group: its own, or by the ratio of the work where it was not
  /// run.
  private func baselineSeconds(of group: ModelCandidates) -> Double {
    if let own = group.seconds(of: group.baseline.spec) { return own }
    for other in groups {
      guard let seconds = other.seconds(of: other.baseline.spec) else { continue }
      return seconds * Double(group.baseline.work.flops)
        / Double(max(other.baseline.work.flops, 1))
    }
    return 0
  }

  /// Layers of one problem, but for the values of sink logits, which cost no time, are one group.
  private func group() throws {
    var found: [(problem: AttentionProblem, layers: [Int])] = []
    for (place, layer) in question.layers.enumerated() {
      let problem = try layer.problem.with { _, scoring, _, _ in
        scoring.sinkLogits = scoring.sinkLogits.map { $0.map { _ in 0 } }
      }
      if let index = found.firstIndex(where: { $0.problem == problem }) {
        found[index].layers.append(place)
      } else {
        found.append((problem, [place]))
      }
    }
    groups = try found.map {
      try ModelCandidates(
        $0.problem, layers: $0.layers, series: question.series($0.problem),
        placement: question.placement, memoryBytes: memoryBytes)
    }
  }

  /// The candidates of a layer.
  private func group(of place: Int) -> ModelCandidates? {
    groups.first { $0.layers.contains(place) }
  }

  private var elapsed: Double { Double(instruments.clock.now() - start) / 1e9 }

  /// The seconds after which no candidate is looked at any more.
  private var lookTime: Double {
    question.maximumTotalError == nil ? budget : (1 - Self.planShare) * budget
  }

  private var isOver: Bool { stop.isRaised || elapsed >= lookTime }

  private func repeats(of group: ModelCandidates) -> Int {
    (Self.leastRuns + group.layers.count - 1) / group.layers.count
  }

  /// Runs a few candidates of every family on one or two layers and settles which are run on all.
  private func tryFamilies(_ group: ModelCandidates) throws {
    let count = group.layers.count
    let trials =
      count < 8
      ? [group.layers[count / 2]] : [group.layers[count / 3], group.layers[2 * count / 3]]
    for place in trials where !isOver {
      let layer = question.layers[place]
      // The baseline's own time says what the others may take.
      _ = try look(at: [], place, group, repeats: repeats(of: group))
      let seconds = max(group.seconds(of: group.baseline.spec) ?? 0, 1e-9)
      let allowance = Self.trialShare * budget / Double(groups.count * trials.count)
      let pool = group.pool(limit: allowance / (seconds > Self.longRun ? 1 : 2) / seconds)
      let looked = try look(at: pool, place, group, repeats: 1)
      emit(.layerTried(layer, candidates: looked))
    }
    let share = Double(group.layers.count) / Double(question.layers.count)
    let left = max(0, (lookTime - elapsed) * share) / Double(group.layers.count)
    let limit = workSeconds > 0 ? 0.9 * left / (workSeconds / work) - 2 : .infinity
    group.choose(limit: limit) { trialTimes(trials, group, of: $0) }
  }

  /// The time of the trial layers' heads within several limits on their loss, with the baseline and
  /// some other strategies.
  private func trialTimes(
    _ places: [Int], _ group: ModelCandidates, of strategies: Set<String>
  ) -> [Double] {
    let measurement = measurement
    guard let index = groups.firstIndex(where: { $0 === group }) else { return [] }
    let known = measurement.groups[index]
    func assignment(_ usable: (String) -> Bool) -> ModelAssignment {
      let table = OptionTable(known) { $0 == known.baseline || usable($0) }
      return ModelAssignment(
        // Of a layer that was stopped before its baseline nothing is known.
        places.map { measurement.layers[$0] }.filter { !$0.squaredErrors.isEmpty }.flatMap {
          table.slots($0, heads: known.heads, sensitivity: 1)
        })
    }
    let all = assignment { _ in true }
    let curve = all.curve
    guard let full = curve.first?.seconds else { return [] }
    let some = assignment(strategies.contains)
    return [0.85, 0.7, 0.5, 0.35, 0.2].map { share in
      // The limit at which all candidates together take that share of the baseline's time.
      let limit = curve.first { $0.seconds <= share * full }?.loss ?? curve.last?.loss ?? 0
      return some.total(of: some.choice(within: limit)).seconds / full
    }
  }

  /// Runs the baseline and candidates on a layer, as far as that has not been done.
  ///
  /// - Returns: how many of the candidates are known on the layer.
  private func look(
    at entries: [ModelCandidates.Entry], _ place: Int, _ group: ModelCandidates, repeats: Int
  ) throws -> Int {
    let missing = ([group.baseline] + entries).filter { looks[place][$0.spec] == nil }
    guard !missing.isEmpty else { return entries.count }
    let layer = question.layers[place]
    let began = elapsed
    let executor = try instruments.executor(layer)
    try executor.load(layer.problem)
    defer { executor.unload() }
    let remark = try executor.prepareReference(
      rows: question.errorRows, exact: group.baseline.cell.strategy,
      placement: question.placement, seed: question.seed)
    if let remark { emit(.warning("\(layer.name): \(remark)")) }
    for entry in missing where !isOver && wrong[entry.spec] == nil {
      try look(at: entry, on: layer, place, group, executor, repeats)
      work += Double(entry.work.flops) / Double(max(group.baseline.work.flops, 1))
      if elapsed > Self.firstCurveTime { showFirstCurve() }
    }
    workSeconds += elapsed - began
    return entries.count { looks[place][$0.spec] != nil }
  }

  private func look(
    at entry: ModelCandidates.Entry, on layer: ModelLayer, _ place: Int, _ group: ModelCandidates,
    _ executor: any ChoiceExecutor, _ repeats: Int
  ) throws {
    let isFirst = group.seconds(of: entry.spec) == nil
    do {
      let prepared = try executor.prepare(cell(of: entry, on: layer, group))
      try executor.clearOutput()
      let first = try seconds(of: prepared)
      // Each strategy once: what is chosen is checked on its own layers again.
      if isFirst, let fault = try prepared.check().fault {
        wrong[entry.spec] = fault
        return emit(.warning("\(entry.spec) on \(layer.name): wrong, \(fault)"))
      }
      if entry.spec == group.baseline.spec {
        looks[place][entry.spec] = Array(repeating: 0, count: layer.problem.shape.heads)
      } else {
        let errors = try executor.headErrors()
        looks[place][entry.spec] = zip(errors.heads, errors.headShares).map { head, share in
          let squared = head.upper * head.upper * share
          return squared.isFinite ? squared : nil
        }
      }
      let timed =
        first > Self.longRun ? [first] : try (0..<repeats).map { _ in try seconds(of: prepared) }
      group.note(timed, of: entry.spec)
    } catch let error as AttentionError {
      emit(.warning("\(entry.spec) on \(layer.name): \(error)"))
    }
  }

  private func cell(
    of entry: ModelCandidates.Entry, on layer: ModelLayer, _ group: ModelCandidates
  ) -> SweepCell {
    layer.problem == group.problem ? entry.cell : cell(entry.cell.strategy, layer)
  }

  private func cell(_ strategy: any AttentionStrategy, _ layer: ModelLayer) -> SweepCell {
    SweepCell(
      problem: layer.problem, n: layer.problem.shape.queryLength, strategy: strategy,
      placement: question.placement, curve: 0)
  }

  private func seconds(of prepared: any PreparedCell) throws -> Double {
    prepared.arm()
    let began = instruments.clock.now()
    try prepared.run()
    return Double(instruments.clock.now() - began) / 1e9
  }

  private func showFirstCurve() {
    guard !hasShownCurve, !stop.isRaised else { return }
    let choice = choice()
    guard !choice.curve.isEmpty else { return }
    hasShownCurve = true
    emit(.firstCurve(choice))
  }

  /// Rounds of timing the plan, at most.
  private static let rounds = 5

  /// Runs the layers' mixes and the baseline in turn, and checks the mixes' outputs.
  private func time(_ choice: inout ModelChoice) throws {
    let baseline = choice.baseline
    let perRound = choice.layers.reduce(0) { $0 + $1.seconds + $1.baselineSeconds }
    let rounds = Int(max(1, min((budget - elapsed) / max(perRound, 1e-9) - 1, Double(Self.rounds))))
    for place in choice.layers.indices {
      let layer = question.layers[place]
      guard !stop.isRaised, elapsed < budget, choice.layers[place].isMeasured,
        let group = group(of: place)
      else { continue }
      let isBaseline = choice.layers[place].heads.allSatisfy { $0.strategy == baseline }
      let known = group.measured
      let strategies = choice.layers[place].heads.compactMap { known[$0.strategy]?.cell.strategy }
      let executor = try instruments.executor(layer)
      try executor.load(layer.problem)
      defer { executor.unload() }
      let whole = try executor.prepare(cell(of: group.baseline, on: layer, group))
      let mix =
        isBaseline ? nil : try executor.prepare(cell(MixedAttention(strategies), layer))
      // Two plans share the output: the mix's is checked while it is there.
      _ = try seconds(of: whole)
      if let mix {
        try executor.clearOutput()
        _ = try seconds(of: mix)
        if let fault = try mix.check().fault {
          wrong["the mix of \(layer.name)"] = fault
          emit(.warning("the mix of \(layer.name): wrong, \(fault)"))
        }
      }
      var (own, other): ([Double], [Double]) = ([], [])
      for round in 0..<rounds {
        // Who comes first takes turns.
        if round.isMultiple(of: 2) { other.append(try seconds(of: whole)) }
        if let mix { own.append(try seconds(of: mix)) }
        if !round.isMultiple(of: 2) { other.append(try seconds(of: whole)) }
      }
      choice.layers[place].timedBaselineSeconds = SampleSummary(other)?.median
      choice.layers[place].timedSeconds = SampleSummary(isBaseline ? other : own)?.median
      emit(.layerTimed(layer))
    }
    choice.wrong = measurement.wrong
  }
}
