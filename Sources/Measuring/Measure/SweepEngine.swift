import Attention
import Records
import Statistics
import Units

/// Runs the cells of a plan, size by size, and keeps each result as soon as it is there.
///
/// Per size: what would not fit in memory or time is refused before anything is allocated; every
/// other cell is planned and run once; then rounds over all cells of the size, each round in a new
/// order, one run a cell, until each has enough samples. Drift of the machine then hits all cells
/// of a size alike. Which strategy a cell runs plays no part anywhere.
public final class SweepEngine {
  /// What came of a sweep.
  public struct Outcome: Sendable {
    /// The rows of this sitting, in the order they were kept.
    public internal(set) var rows: [ResultRow] = []
    /// The machine's ceilings, a size and a placement each.
    public internal(set) var ceilings: [MachineCeiling] = []
    /// Whether the sweep was stopped before its end.
    public internal(set) var wasInterrupted = false
  }

  /// The parts of a sweep that tests replace.
  public struct Instruments {
    let executor: any CellExecutor
    let clock: any SweepClock
    let probe: any MachineProbe
    let store: any ResultStore

    /// Joins the parts.
    public init(
      executor: any CellExecutor, clock: any SweepClock, probe: any MachineProbe,
      store: any ResultStore
    ) {
      self.executor = executor
      self.clock = clock
      self.probe = probe
      self.store = store
    }
  }

  let plan: SweepPlan
  let limits: SweepLimits
  let instruments: Instruments
  let stop: StopFlag
  let labels: RowLabels
  let start: UInt64
  /// Seconds from the beginning of the run to the beginning of this sitting.
  let secondsBefore: Double
  var forecast = SweepForecast()
  var outcome = Outcome()
  /// The cells that have ended, those of an earlier sitting included.
  var finished: Set<String> = []
  /// How many samples earlier sittings kept of each cell: new ones are numbered from there.
  private(set) var earlierSamples: [String: Int] = [:]
  /// The ceilings of the size in work.
  var ceilings: [SweepPlacement: CeilingSeries] = [:]
  /// What shows that the machine was busy during the size in work.
  var busy = BusyMachine()
  /// Where the account of the neighbours begins: too short a stretch is joined to the next.
  var neighboursSince: (time: Double, totals: Interference)?
  /// Whether the sweep has warned of a busy machine.
  var saidBusy = false
  private var lastProgress: UInt64?
  private var warnings: Set<String> = []
  private let emit: (SweepEvent) -> Void

  /// A sweep that begins now.
  ///
  /// - Parameters:
  ///   - labels: what every row says of the run.
  ///   - earlierRows: what an earlier sitting has kept. Cells that it settled are not run again;
  ///     the others are.
  ///   - earlierSamples: how many samples there are of each cell already. More than the rows count
  ///     where a kill came between the two.
  ///   - secondsBefore: how long ago an earlier sitting began the run.
  ///   - stop: ends the sweep after the run under way.
  ///   - emit: is told what happens, between runs.
  public init(
    plan: SweepPlan, limits: SweepLimits, instruments: Instruments, labels: RowLabels,
    earlierRows: [ResultRow] = [], earlierSamples: [String: Int] = [:], secondsBefore: Double = 0,
    stop: StopFlag = StopFlag(),
    emit: @escaping (SweepEvent) -> Void = { _ in }
  ) {
    self.plan = plan
    self.limits = limits
    self.instruments = instruments
    self.labels = labels
    self.stop = stop
    self.emit = emit
    self.secondsBefore = secondsBefore
    start = instruments.clock.now()
    let cells = Dictionary(uniqueKeysWithValues: plan.cells.map { ($0.id, $0) })
    for row in earlierRows {
      guard let cell = cells[row.cellID] else { continue }
      self.earlierSamples[cell.id, default: 0] += row.time.samples
      guard row.status.isSettled else { continue }
      finished.insert(cell.id)
      if row.status.isMeasured, let median = row.time.median {
        forecast.learn(cell, seconds: median)
      }
    }
    self.earlierSamples.merge(earlierSamples) { max($0, $1) }
  }

  /// Runs the sweep; call it once.
  ///
  /// - Throws: `RecordError` when a result cannot be kept. What was kept before is safe.
  public func run() throws(RecordError) -> Outcome {
    for n in plan.sizes {
      if stop.isRaised { break }
      try run(size: n)
    }
    outcome.wasInterrupted = stop.isRaised && finished.count < plan.cells.count
    return outcome
  }

  private func run(size n: Int) throws(RecordError) {
    let cells = plan.cells(n: n).filter { !finished.contains($0.id) }
    guard let problem = cells.first?.problem else { return }
    tell(.sizeStarted(n: n, cells: cells.count))
    ceilings = [:]
    busy = BusyMachine()
    if neighboursSince == nil { neighboursSince = (elapsed, instruments.probe.interference()) }
    var runnable: [SweepCell] = []
    do {
      for placement in Set(cells.filter(isServable).map(\.placement)) {
        try measureCeilings(of: placement)
      }
    } catch {
      warn("the machine's ceilings could not be measured: \(error)")
    }
    // Now and again at the end of the size: a kill in between leaves cells with their ceilings.
    try instruments.store.keep(outcome.ceilings + ceilings(n: n))
    for cell in cells where try !refuse(cell) { runnable.append(cell) }
    guard !runnable.isEmpty else { return }
    do {
      try instruments.executor.load(problem)
    } catch {
      for cell in runnable { try keep(cell, status: .error, reason: "\(error)") }
      return
    }
    for group in grouped(runnable) where !stop.isRaised { try measure(group) }
    instruments.executor.unload()
    warnIfBusy(n: n)
    for placement in plan.placements { warnOfDrift(of: placement, n: n) }
    let measured = ceilings(n: n)
    outcome.ceilings += measured
    try instruments.store.keep(outcome.ceilings)
    tell(.ceilings(n: n, measured))
  }

  /// Whether only its time could speak against a cell.
  private func isServable(_ cell: SweepCell) -> Bool {
    guard case .success = cell.work else { return false }
    return limits.memoryRefusal(of: cell) == nil
  }

  /// Cells whose workspaces fit into memory together; all of a size, unless memory is short.
  private func grouped(_ cells: [SweepCell]) -> [[SweepCell]] {
    var groups: [(cells: [SweepCell], bytes: Int)] = []
    for cell in cells {
      let bytes = (try? cell.work.get().workspaceBytes) ?? 0
      let room = limits.memoryBytes - cell.tensorBytes
      if let index = groups.firstIndex(where: { $0.bytes <= room - bytes }) {
        groups[index].cells.append(cell)
        groups[index].bytes += bytes
      } else {
        groups.append(([cell], bytes))
      }
    }
    return groups.map(\.cells)
  }

  /// Keeps a row for a cell that shall not run, if so.
  func refuse(_ cell: SweepCell) throws(RecordError) -> Bool {
    if case .failure(let error) = cell.work {
      try keep(cell, status: .error, reason: "\(error)")
      return true
    }
    if let reason = limits.memoryRefusal(of: cell) {
      try keep(cell, status: .skippedMemory, reason: reason)
      return true
    }
    // A cell that nothing is known of is refused only if no machine code could be fast enough.
    if let prediction = forecast.extrapolation(to: cell) ?? forecast.lowerBound(of: cell),
      let reason = limits.timeRefusal(prediction, budgetLeft: budgetLeft)
    {
      try keep(cell, status: .skippedTime, reason: reason)
      return true
    }
    return false
  }

  /// Keeps the row of a cell that has no figures.
  func keep(_ cell: SweepCell, status: Status, reason: String) throws(RecordError) {
    try keep(labels.row(for: cell, status: status, reason: reason), of: cell, samples: [])
  }

  /// Keeps the row of a cell that has ended.
  func keep(
    _ row: ResultRow, of cell: SweepCell, samples: [SampleRow]
  ) throws(RecordError) {
    try instruments.store.append(row, samples: samples)
    outcome.rows.append(row)
    if row.status != .interrupted { finished.insert(cell.id) }
    tell(.cellFinished(cell, row))
  }

  /// Seconds since the sweep began.
  var elapsed: Double { Double(instruments.clock.now() - start) / 1e9 }

  /// Seconds of the budget that are left; nil without a budget.
  var budgetLeft: Double? { limits.budget.map { $0 - elapsed } }

  func tell(_ event: SweepEvent) { emit(event) }

  /// Warns once of each thing.
  func warn(_ text: String) {
    if warnings.insert(text).inserted { emit(.warning(text)) }
  }

  /// Reports progress, if the last report is a while ago.
  func report(_ cell: SweepCell, _ summary: SampleSummary?, secondsLeft: () -> Double?) {
    let now = instruments.clock.now()
    if let lastProgress, now - lastProgress < 100_000_000 { return }
    lastProgress = now
    emit(
      .progress(
        SweepProgress(
          cell: cell.id, samples: summary?.count ?? 0, median: summary?.median,
          relativeHalfWidth: summary?.relativeHalfWidth, finishedCells: finished.count,
          totalCells: plan.cells.count, secondsLeft: secondsLeft())))
  }
}

extension Status {
  /// Whether a resumed sweep leaves the cell alone. A cell that was skipped for its time is tried
  /// again, since the new sitting has a new budget, and so is one whose output was wrong.
  var isSettled: Bool { isMeasured || self == .skippedMemory }
}
