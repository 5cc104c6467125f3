import Attention
import Measuring
import Records
import Statistics
import Units

extension ChoiceEngine {
  /// Runs a candidate a few times, checks its output and measures its error; once for each strategy.
  ///
  /// - Parameter isRefusable: whether it may be refused for the time it takes.
  @discardableResult
  func look(
    at strategy: any AttentionStrategy, isRefusable: Bool = true
  ) throws -> Assessment {
    let cell = cell(strategy)
    if let known = assessments[cell.spec], known.predictedSeconds == nil { return known }
    emit(.measuring(.cellStarted(cell)))
    let began = elapsed
    let assessment = try spending(on: "looks at candidates") {
      try assess(cell, isRefusable: isRefusable)
    }
    longestStep = max(longestStep, elapsed - began)
    keep(assessment)
    emit(.candidateSeen(assessment.candidate))
    return assessment
  }

  /// A candidate without figures.
  func ended(
    _ cell: SweepCell, _ status: Status, _ reason: String, predictedSeconds: Double? = nil
  ) -> Assessment {
    Assessment(
      cell: cell, row: labels.row(for: cell, status: status, reason: reason), errors: nil,
      predictedSeconds: predictedSeconds)
  }

  private func assess(_ cell: SweepCell, isRefusable: Bool) throws -> Assessment {
    if case .failure(let error) = cell.work { return ended(cell, .error, "\(error)") }
    if let reason = limits.memoryRefusal(of: cell) { return ended(cell, .skippedMemory, reason) }
    // Whatever the beginning has taken: the first that can be run within a budget is.
    let isFirst = assessments.values.allSatisfy { $0.seconds == nil }
    if isRefusable, let least = leastTime(of: cell),
      let reason = limits.timeRefusal(least, budgetLeft: isFirst ? limits.budget : searchTimeLeft)
    {
      return ended(cell, .skippedTime, reason)
    }
    do {
      let prepared = try instruments.executor.prepare(cell)
      try instruments.executor.clearOutput()
      let measurement = try run(prepared, threads: cell.placement.threads)
      let check = try prepared.check()
      if let fault = check.fault { return ended(cell, .wrong, fault) }
      // A distance that means nothing is none.
      let errors =
        cell.strategy.needsTrainedModel ? nil : try instruments.executor.headErrors()
      let count = measurement.samples.count
      var reason = "\(count) run\(count == 1 ? "" : "s") in the search"
      if let remark = check.remark { reason += "; \(remark)" }
      var row = labels.row(for: cell, status: .lowSamples, reason: reason)
      row.fill(
        measurement, flopRate: flopRates[cell.strategy.arithmetic],
        workspaceBytes: prepared.workspaceBytes)
      row.accuracy = check.accuracy
      row.accuracy.relativeL2 = errors?.whole.value
      row.accuracy.rowsChecked = errors?.rowsChecked ?? check.accuracy.rowsChecked
      return Assessment(cell: cell, row: row, errors: errors)
    } catch let error as AttentionError {
      return ended(cell, .error, "\(error)")
    }
  }

  /// Times a candidate, without looking at what it computes: its error is not known then.
  func glance(at cell: SweepCell) throws -> Candidate? {
    guard case .success = cell.work, let prepared = try? instruments.executor.prepare(cell) else {
      return nil
    }
    let measurement = try run(prepared, threads: cell.placement.threads)
    var row = labels.row(for: cell, status: .lowSamples, reason: Candidate.unchecked)
    row.fill(
      measurement, flopRate: flopRates[cell.strategy.arithmetic],
      workspaceBytes: prepared.workspaceBytes)
    return Candidate(row)
  }

  /// Runs those once more that would be left out for their time: what disturbed a whole look is over by
  /// now, or else the other candidates have suffered from it as well. Long runs are none of them:
  /// what disturbs is mostly shorter.
  func lookAgain(for goals: [ChoiceGoal]) throws {
    var doubtful: Set<String> = []
    for goal in goals {
      let meeting = assessments.values.filter { meets($0, goal) }
      let best = meeting.compactMap(\.seconds).min() ?? 0
      for one in meeting {
        let seconds = one.seconds ?? .infinity
        if seconds > Self.contenderFactor * best, seconds <= Self.doubtFactor * best,
          seconds < Self.longRun
        {
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
      var better = one
      better.row.fill(
        measurement, flopRate: flopRates[one.cell.strategy.arithmetic],
        workspaceBytes: prepared.workspaceBytes)
      keep(better)
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
    let repeats =
      first > Self.longRun ? 0 : first > 0.1 ? 1 : max(fitting, Self.lookRuns.lowerBound)
    for index in 0..<max(repeats, 1) {
      let seconds = repeats == 0 ? first : try once()
      measurement.add(
        SampleRow(
          runID: labels.runID, cellID: "", index: index, round: 0, time: seconds, cpuTime: 0,
          startedAt: 0), from: Interference(), to: Interference())
    }
    return measurement
  }

  /// Times every series once at a size where that takes milliseconds, so that what its candidates
  /// take at the problem's own size can be predicted from their counted work.
  ///
  /// The last of a series that can be run is taken, whose panels are the fullest: the others are
  /// slower for their work, and a prediction is rather too short than too long.
  func timePilots() throws {
    guard let pilot = pilotProblem() else { return }
    let executor = instruments.executor
    try executor.load(pilot)
    defer { executor.unload() }
    // The exact ones first: they stand in the first table, however early that is told.
    let exactFirst = question.series.enumerated().sorted { left, right in
      (left.element.contains(where: \.isExactInFloat32) ? 0 : 1, left.offset)
        < (right.element.contains(where: \.isExactInFloat32) ? 0 : 1, right.offset)
    }
    for (series, strategies) in exactFirst {
      if stop.isRaised { return }
      tellFirstTable(before: 0)
      let began = elapsed
      defer { longestStep = max(longestStep, elapsed - began) }
      for strategy in strategies.reversed() {
        let cell = SweepCell(
          problem: pilot, n: pilot.shape.queryLength, strategy: strategy,
          placement: question.placement, curve: series)
        guard case .success = cell.work, let prepared = try? executor.prepare(cell) else {
          continue
        }
        if let seconds = try run(prepared, threads: cell.placement.threads).summary?.minimum {
          forecast.learn(cell, seconds: seconds)
        }
        break
      }
    }
  }

  /// The seconds that full attention on the pilot problem takes at the machine's peak.
  private static let pilotTime = 0.01

  /// The same problem with fewer queries and keys; nil where it is so small that looking takes no
  /// longer than predicting, or where what hides its pairs cannot be cut.
  private func pilotProblem() -> AttentionProblem? {
    let whole = question.problem
    let exact = question.series.joined().filter { $0.isExactInFloat32 }.map(cell)
    guard let least = exact.compactMap({ forecast.lowerBound(of: $0)?.seconds }).min(),
      least > 10 * Self.pilotTime, whole.isPlain
    else { return nil }
    let share = (Self.pilotTime / least).squareRoot()
    func cut(_ length: Int) -> Int { min(length, max(256, Int(Double(length) * share))) }
    return try? whole.with { shape, _, _, _ in
      (shape.queryLength, shape.keyLength) = (cut(shape.queryLength), cut(shape.keyLength))
    }
  }
}

extension AttentionProblem {
  /// Whether nothing but causality, aligned at the bottom right, hides pairs or adds to their scores.
  fileprivate var isPlain: Bool {
    visibility == Visibility(causal: visibility.causal)
  }
}
