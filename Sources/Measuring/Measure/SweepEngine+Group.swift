import Attention
import Records
import Statistics
import Units

extension SweepEngine {
  /// A cell that has been planned, and its samples so far.
  final class Active {
    let cell: SweepCell
    let prepared: any PreparedCell
    var measurement: CellMeasurement
    var peakRSSDelta: Int?
    /// Seconds of the warm-up; nil when there was none.
    var warmUp: Double?
    /// Seconds the cell may measure for.
    var allowance = Double.infinity

    init(_ cell: SweepCell, _ prepared: any PreparedCell, cpus: Int?) {
      self.cell = cell
      measurement = CellMeasurement(threads: cell.placement.threads, cpus: cpus)
      self.prepared = prepared
    }

    /// The best figure for one run so far, in seconds.
    var runSeconds: Double? { measurement.summary?.median ?? warmUp }
  }

  /// Measures cells that are in memory together.
  func measure(_ cells: [SweepCell]) throws(RecordError) {
    var waiting: [Active] = []
    // Also for cells so long that their first run is their last.
    readWorkingSets(of: cells)
    for cell in cells {
      if stop.isRaised { break }
      if try refuse(cell) { continue }
      if let active = try begin(cell) { waiting.append(active) }
    }
    share(budgetAmong: waiting)
    var round = 1
    while !waiting.isEmpty, !stop.isRaised {
      measureDrift(for: waiting.map(\.cell))
      let mayEnd = !limits.endsTogether || waiting.allSatisfy { end(of: $0) != nil }
      for index in order(waiting.count, n: cells[0].n, round: round) {
        if stop.isRaised { break }
        try sample(waiting[index], round: round, among: waiting, mayEnd: mayEnd)
      }
      waiting.removeAll { finished.contains($0.cell.id) }
      round += 1
    }
    for active in waiting where !active.measurement.samples.isEmpty {
      try end(active, status: .interrupted, reason: "stopped by the user")
    }
  }

  /// Plans a cell and runs it for the first time, watching its memory.
  ///
  /// - Returns: nil when the cell has ended with that.
  private func begin(_ cell: SweepCell) throws(RecordError) -> Active? {
    tell(.cellStarted(cell))
    let probe = instruments.probe
    if let available = probe.availableBytes(), let work = try? cell.work.get(),
      work.workspaceBytes > available
    {
      let needed = ByteCount(work.workspaceBytes).rounded
      let left = ByteCount(max(0, available)).rounded
      try keep(
        cell, status: .skippedMemory, reason: "needs a workspace of \(needed) > \(left) available")
      return nil
    }
    let hasPeak = probe.restartPeak()
    if !hasPeak {
      warn("the kernel does not let this process restart its peak memory: no peak_rss_delta_bytes")
    }
    let before = probe.residentBytes()
    let active: Active
    do {
      active = Active(cell, try instruments.executor.prepare(cell), cpus: probe.cpuCount)
    } catch {
      try keep(cell, status: .error, reason: "\(error)")
      return nil
    }
    guard let first = try run(active, round: 0) else { return nil }
    if hasPeak, let before, let peak = probe.peakResidentBytes() {
      active.peakRSSDelta = max(0, peak - before)
      if let declared = active.prepared.workspaceBytes {
        let growth = MemoryGrowth(
          declared: declared, measured: max(0, peak - before), threads: cell.placement.threads)
        if let difference = growth.difference { warn("\(cell.id): \(difference)") }
      }
    }
    if first.sample.time > SweepLimits.warmUpLimit {
      active.measurement.add(
        first.sample, turn: first.turn, from: first.before, to: first.after)
      active.allowance = limits.cellTimeout
      if try endIfDone(active) { return nil }
    } else {
      active.warmUp = first.sample.time
    }
    report(cell, active.measurement.summary) { secondsLeft(with: [active]) }
    return active
  }

  /// Takes one sample and ends the cell if that was the last.
  ///
  /// - Parameter mayEnd: whether being known well enough is reason to end.
  private func sample(
    _ active: Active, round: Int, among group: [Active], mayEnd: Bool
  ) throws(RecordError) {
    guard let taken = try run(active, round: round) else { return }
    active.measurement.add(taken.sample, turn: taken.turn, from: taken.before, to: taken.after)
    if mayEnd || end(of: active) != .reached, try endIfDone(active) { return }
    report(active.cell, active.measurement.summary) { secondsLeft(with: group) }
  }

  /// A sample, the seconds that its turn took and the disturbances around it.
  private typealias Taken = (
    sample: SampleRow, turn: Double, before: Interference, after: Interference
  )

  /// Runs a cell once. A cell that fails ends as an error, and there is no sample.
  private func run(_ active: Active, round: Int) throws(RecordError) -> Taken? {
    let (clock, probe) = (instruments.clock, instruments.probe)
    let before = probe.interference()
    active.prepared.arm()
    let processor = probe.processorSeconds()
    let began = clock.now()
    do {
      try active.prepared.run()
    } catch {
      try end(active, status: .error, reason: "\(error)")
      return nil
    }
    let ended = clock.now()
    let account =
      active.prepared.account
      ?? {
        let seconds = Double(ended - began) / 1e9
        return RunAccount(
          seconds: seconds, processorSeconds: max(0, probe.processorSeconds() - processor),
          turnSeconds: seconds)
      }()
    let index = earlierSamples[active.cell.id, default: 0] + active.measurement.samples.count
    let sample = SampleRow(
      runID: labels.runID, cellID: active.cell.id, index: index, round: round,
      time: account.seconds, cpuTime: account.processorSeconds,
      startedAt: secondsBefore + Double(began - start) / 1e9)
    return (sample, account.turnSeconds, before, probe.interference())
  }

  /// Why a cell could end now; nil while it could not.
  private func end(of active: Active) -> CellMeasurement.End? {
    active.measurement.end(limits, allowance: active.allowance, budgetLeft: budgetLeft)
  }

  private func endIfDone(_ active: Active) throws(RecordError) -> Bool {
    guard let reached = end(of: active) else { return false }
    // Now, while the output is this cell's.
    let check: OutputCheck
    do {
      check = try active.prepared.check()
    } catch {
      try end(active, status: .error, reason: "the output could not be checked: \(error)")
      return true
    }
    var verdict = active.measurement.verdict(reached, limits, allowance: active.allowance)
    if let fault = check.fault {
      verdict = (.wrong, fault)
    } else if let remark = check.remark {
      verdict.reason += (verdict.reason.isEmpty ? "" : "; ") + remark
    }
    try end(active, status: verdict.status, reason: verdict.reason, accuracy: check.accuracy)
    return true
  }

  private func end(
    _ active: Active, status: Status, reason: String,
    accuracy: ResultRow.Accuracy = ResultRow.Accuracy()
  ) throws(RecordError) {
    let cell = active.cell
    var row = labels.row(for: cell, status: status, reason: reason)
    row.fill(
      active.measurement,
      flopRate: ceilings[cell.placement]?.flopRate(cell.runner.arithmetic),
      workspaceBytes: active.prepared.workspaceBytes)
    row.work.peakRSSDeltaBytes = active.peakRSSDelta
    if cell.strategy.usesBLAS {
      row.work.blasPercentOfPeak = ceilings[cell.placement]?.blasPercentOfPeak
    }
    row.accuracy = accuracy
    if status.isMeasured, let median = row.time.median { forecast.learn(cell, seconds: median) }
    busy.contention.add(active.measurement.contention)
    busy.involuntarySwitches += active.measurement.involuntarySwitches
    try keep(row, of: cell, samples: active.measurement.labelledSamples)
  }

  /// The places of a round's cells in the order they run.
  private func order(_ count: Int, n: Int, round: Int) -> [Int] {
    guard limits.order == .random else { return Array(0..<count) }
    var generator = SeededGenerator(seed: plan.seed, path: [4, n, round])
    return (0..<count).shuffled(using: &generator)
  }
}

extension SweepEngine {
  /// Gives each cell of a group its share of the time that is left.
  ///
  /// What is left is shared in proportion to what each cell costs at least, the cells of later
  /// sizes included, so that a noisy small cell cannot eat the time of a large one.
  private func share(budgetAmong group: [Active]) {
    guard let budgetLeft else {
      for active in group { active.allowance = limits.cellTimeout }
      return
    }
    let wanted = group.map { limits.leastCost(run: $0.runSeconds ?? 0) }
    let all = wanted.reduce(0, +) + laterCost(than: group)
    let factor = all > 0 ? max(0, budgetLeft) / all : 1
    for (active, cost) in zip(group, wanted) {
      let share = active.measurement.seconds + max(SweepLimits.leastAllowance, cost * factor)
      active.allowance = min(limits.cellTimeout, share)
    }
  }

  /// Predicted seconds until the end of the sweep.
  private func secondsLeft(with group: [Active]) -> Double? {
    let now = group.filter { !finished.contains($0.cell.id) }.map { active in
      let whole = limits.leastCost(run: active.runSeconds ?? 0) - (active.warmUp ?? 0)
      return max(0, whole - active.measurement.seconds)
    }
    let total = now.reduce(0, +) + laterCost(than: group)
    return budgetLeft.map { min(max(0, $0), total) } ?? total
  }

  /// Predicted seconds of the cells that have neither ended nor begun.
  private func laterCost(than group: [Active]) -> Double {
    let begun = Set(group.map(\.cell.id))
    return plan.cells.reduce(0) { total, cell in
      guard !finished.contains(cell.id), !begun.contains(cell.id),
        limits.memoryRefusal(of: cell) == nil, let run = forecast.estimate(of: cell),
        run.seconds <= limits.cellTimeout
      else { return total }
      return total + limits.leastCost(run: run.seconds)
    }
  }
}
