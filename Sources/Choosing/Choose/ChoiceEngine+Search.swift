import Attention
import Measuring
import Records
import Statistics
import Units

extension ChoiceEngine {
  /// Searches all series, the cheapest looks first.
  ///
  /// - Parameter goals: where the error has to be small enough; without any, nothing is passed over.
  func search(for goals: [ChoiceGoal]) throws {
    let executor = instruments.executor
    try spending(on: "the machine's peak") { try measurePeaks() }
    try spending(on: "every series at a small size") { try timePilots() }
    try spending(on: "the tensors") { try executor.load(question.problem) }
    defer { executor.unload() }
    var search = SeriesSearch(counts: question.series.map(\.count), goals: goals.count)
    try peek(at: search.first)
    let remark = try spending(on: "full attention as a reference") {
      try executor.prepareReference(
        rows: question.errorRows, exact: referenceStrategy(), placement: question.placement,
        seed: question.seed)
    }
    if let remark { emit(.measuring(.warning(remark))) }
    var hasLooked = false
    var places = search.first
    // The dearest of a series has to be looked at some time: without it nothing says where to halve.
    var waiting: [SeriesSearch.Place] = []
    while !places.isEmpty {
      // After the first looks one at a time: what a cheap look finds spares dearer ones.
      for (place, strategy) in inOrder(places).prefix(hasLooked ? 1 : places.count) {
        if stop.isRaised { return }
        if !hasLooked, canWait(strategy) {
          if place.index == question.series[place.series].count - 1 { waiting.append(place) }
          continue
        }
        waiting.removeAll { $0 == place }
        if try passOver(strategy, goals) {
          // With it those below it that cannot be the fastest either: the search goes on at the
          // dearest that may be.
          search.passOver(place) { index in
            whyNot(cell(question.series[place.series][index]), goals) != nil
          }
          continue
        }
        tellFirstTable(before: 0)
        let assessment = try look(at: strategy)
        search.note(
          SeriesSearch.Look(
            seconds: assessment.seconds, meets: goals.map { meets(assessment, $0) }), at: place)
      }
      hasLooked = true
      places = search.next + waiting
    }
    try lookAgain(for: goals)
  }

  private func measurePeaks() throws {
    let strategies = question.series.joined()
    for arithmetic in Arithmetic.allCases
    where arithmetic == .float32 || strategies.contains(where: { $0.arithmetic == arithmetic }) {
      let bursts = try (0..<3).map { _ in
        try instruments.executor.flopRate(on: question.placement, in: arithmetic)
      }
      guard let rate = SampleSummary(bursts)?.median else { continue }
      flopRates[arithmetic] = rate
      forecast.learn(
        flopRate: rate, threads: question.placement.threads, arithmetic: arithmetic)
    }
  }

  /// How many times its predicted time an exact strategy may take to look at before others do: its
  /// time is what all others have to be below.
  private static let exactLead = 8.0

  /// What is cheap to look at comes first: with it the rest can be passed over. Dear looks are taken
  /// in the series that has come nearest to full attention so far.
  private func inOrder(
    _ places: [SeriesSearch.Place]
  ) -> [(place: SeriesSearch.Place, strategy: any AttentionStrategy)] {
    let errors = Dictionary(
      assessments.values.compactMap { one in one.errors.map { (one.cell.curve, $0.whole.upper) } },
      uniquingKeysWith: min)
    let known = places.map { place in
      let strategy = question.series[place.series][place.index]
      let cell = cell(strategy)
      let seconds = forecast.estimate(of: cell)?.seconds ?? 0
      let isDear = isDear(cell) && strategy.operatorClass != .exact
      return (
        place: place, strategy: strategy,
        error: isDear ? errors[place.series] ?? .infinity : 0,
        cost: strategy.isExactInFloat32 ? seconds / Self.exactLead : seconds
      )
    }
    return known.sorted {
      ($0.error, $0.cost, $0.place.series, $0.place.index)
        < ($1.error, $1.cost, $1.place.series, $1.place.index)
    }.map { ($0.place, $0.strategy) }
  }

  /// Whether a first look is too dear to be taken just for the overview: where the time of an exact
  /// strategy is known, which all others have to be below, halving finds out with fewer.
  private func canWait(_ strategy: any AttentionStrategy) -> Bool {
    strategy.operatorClass != .exact && isDear(cell(strategy))
      && assessments.values.contains {
        $0.cell.strategy.operatorClass == .exact && $0.seconds != nil
      }
  }

  /// Whether a run takes a noticeable share of the budget.
  private func isDear(_ cell: SweepCell) -> Bool {
    (leastTime(of: cell)?.seconds ?? 0) > Self.cheapShare * (limits.budget ?? limits.cellTimeout)
  }

  /// A look that takes a smaller share of the budget than this is always worth it.
  private static let cheapShare = 0.005
  /// How much faster than at its pilot's rate a candidate may be.
  private static let pilotTolerance = 1.1

  /// The least time that a run of a candidate takes: at the machine's peak, or somewhat above the
  /// rate that its series had at a small size.
  func leastTime(of cell: SweepCell) -> TimePrediction? {
    let pilot = forecast.extrapolation(to: cell).map {
      TimePrediction(seconds: $0.seconds / Self.pilotTolerance, basis: $0.basis)
    }
    return [forecast.lowerBound(of: cell), pilot].compactMap { $0 }
      .max { $0.seconds < $1.seconds }
  }

  /// Keeps a candidate unmeasured that need not be looked at.
  ///
  /// - Returns: whether it was such.
  private func passOver(_ strategy: any AttentionStrategy, _ goals: [ChoiceGoal]) throws -> Bool {
    let cell = cell(strategy)
    guard assessments[cell.spec] == nil, let predicted = forecast.estimate(of: cell) else {
      return false
    }
    tellFirstTable(before: predicted.seconds)
    guard let reason = whyNot(cell, goals) else { return false }
    keep(
      ended(
        cell, .skippedTime,
        "predicted \(TimeSpan.rounded(seconds: predicted.seconds)) (\(predicted.basis)): \(reason)",
        predictedSeconds: predicted.seconds))
    return true
  }

  /// Why a candidate need not be looked at: it would take long, and cannot be faster than what is good
  /// enough already. Nil where it may be, or where finding out takes no time.
  private func whyNot(_ cell: SweepCell, _ goals: [ChoiceGoal]) -> String? {
    guard !goals.isEmpty, isDear(cell), let least = leastTime(of: cell),
      limits.memoryRefusal(of: cell) == nil
    else { return nil }
    // What the fastest is at each goal; where there is none, anything may be.
    var fastest = 0.0
    for goal in goals {
      guard let best = assessments.values.filter({ meets($0, goal) }).compactMap(\.seconds).min()
      else { return nil }
      fastest = max(fastest, best)
    }
    return least.seconds * SeriesSearch.tolerance < fastest
      ? nil : "no faster than \(TimeSpan.rounded(seconds: fastest))"
  }

  /// Seconds after which a choice has something to show at the latest.
  private static let firstTableTime = 8.0
  /// Seconds after which the reference, which takes some as well, would come too late for that.
  private static let peekTime = 4.0
  /// How many candidates are peeked at, and what a run of one may take in seconds.
  private static let peeks = (count: 3, seconds: 0.5)

  /// Where the beginning has taken long, as on a busy machine, times the candidates that are predicted to
  /// be the fastest, without their errors, and tells the first table: with rows that were measured.
  private func peek(at places: [SeriesSearch.Place]) throws {
    guard !hasToldFirstTable, elapsed > Self.peekTime else { return }
    let known = places.compactMap { place -> (cell: SweepCell, seconds: Double)? in
      let cell = cell(question.series[place.series][place.index])
      guard let seconds = forecast.estimate(of: cell)?.seconds, seconds <= Self.peeks.seconds,
        limits.memoryRefusal(of: cell) == nil
      else { return nil }
      return (cell, seconds)
    }.sorted { ($0.seconds, $0.cell.spec) < ($1.seconds, $1.cell.spec) }
    var seen: [Candidate] = []
    for (cell, _) in known.prefix(Self.peeks.count)
    where !stop.isRaised && elapsed + longestStep < Self.firstTableTime {
      if let candidate = try spending(on: "a first few candidates", { try glance(at: cell) }) {
        seen.append(candidate)
      }
    }
    tellFirstTable(with: seen)
  }

  /// Tells once of what is known so far, before something that takes longer than people wait.
  func tellFirstTable(before seconds: Double) {
    guard !hasToldFirstTable, elapsed + max(seconds, longestStep) > Self.firstTableTime else {
      return
    }
    tellFirstTable(with: [])
  }

  /// Tells of it now.
  ///
  /// - Parameter seen: candidates beside those that were looked at.
  private func tellFirstTable(with seen: [Candidate]) {
    hasToldFirstTable = true
    // The exact ones are what everything is held against: predicted where they have not run.
    let exact = question.series.joined().filter { $0.isExactInFloat32 }.map(cell)
      .filter { assessments[$0.spec] == nil && limits.memoryRefusal(of: $0) == nil }
    let predicted = exact.compactMap { cell in
      forecast.estimate(of: cell).map { prediction in
        ended(
          cell, .skippedTime, "not measured yet (\(prediction.basis))",
          predictedSeconds: prediction.seconds)
      }
    }
    emit(
      .firstTable(
        Recommendation(
          candidates: order.compactMap { assessments[$0]?.candidate } + seen
            + predicted.map(\.candidate),
          requirements: question.requirements)))
  }

  /// The share of the budget that full attention on all rows may take, as a reference alone.
  private static let referenceShare = 0.1

  /// The exact strategy that needs the least memory, for all rows of full attention; nil where
  /// running it would take too long.
  private func referenceStrategy() -> (any AttentionStrategy)? {
    let exact = question.series.joined()
      .filter { $0.isExactInFloat32 }.map(cell)
      .filter { limits.memoryRefusal(of: $0) == nil }
    func workspace(_ cell: SweepCell) -> Int { (try? cell.work.get().workspaceBytes) ?? .max }
    guard let cell = exact.min(by: { workspace($0) < workspace($1) }),
      let prediction = forecast.estimate(of: cell),
      prediction.seconds <= limits.cellTimeout,
      prediction.seconds <= Self.referenceShare * (limits.budget ?? .infinity)
    else { return nil }
    return cell.strategy
  }
}
