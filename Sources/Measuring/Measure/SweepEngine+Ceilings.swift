import Attention
import Records
import Statistics
import Units

/// What a sweep measures of the machine beside its cells.
extension SweepEngine {
  /// The ceilings of the size in work so far.
  func ceilings(n: Int) -> [MachineCeiling] {
    let caches = instruments.executor.caches
    return plan.placements.compactMap {
      ceilings[$0]?.ceiling(n: n, placement: $0, caches: caches)
    }
  }

  /// Bursts before the first cell; more follow between the rounds. Where they disagree, something
  /// passing had the cores during some of them: their median needs more of them to be right.
  func measureCeilings(of placement: SweepPlacement) throws {
    var series = CeilingSeries()
    while series.count < 3
      || series.drift > CeilingSeries.notableDrift && series.count < CeilingSeries.mostAtFirst
    {
      try burst(on: placement, into: &series)
    }
    if let rate = try instruments.executor.readRate(on: placement) { series.add(readRate: rate) }
    ceilings[placement] = series
    learnPeak(of: placement)
    learnBandwidth(of: placement)
  }

  /// One more burst on every placement that still has cells to run, and one more reading of the data
  /// of those that wait for them: other guests of a host change rates from one second to the next.
  func measureDrift(for cells: [SweepCell]) {
    for placement in Set(cells.map(\.placement)) {
      guard var series = ceilings[placement], series.count < CeilingSeries.maximumCount,
        (try? burst(on: placement, into: &series)) != nil
      else { continue }
      ceilings[placement] = series
      learnPeak(of: placement)
      readWorkingSets(of: cells.filter { $0.placement == placement })
    }
  }

  /// One reading of the data of each cell of the size in work that has to wait for data rather than
  /// for arithmetic, once for all that read as much.
  func readWorkingSets(of cells: [SweepCell]) {
    for placement in Set(cells.map(\.placement)) {
      let sizes = Set(
        cells.filter { $0.placement == placement && forecast.isBoundByMemory($0) }
          .compactMap { (try? $0.work.get()).map { WorkingSet($0) } })
      for set in sizes.sorted(by: { ($0.bytes, $0.stateBytes) < ($1.bytes, $1.stateBytes) }) {
        if let rate = try? instruments.executor.readRate(on: placement, of: set) {
          ceilings[placement]?.add(readRate: rate, of: set)
        }
      }
    }
  }

  /// One burst, with the share of their cores that its threads got.
  private func burst(
    on placement: SweepPlacement, into series: inout CeilingSeries
  ) throws {
    let (clock, probe) = (instruments.clock, instruments.probe)
    let (processor, began) = (probe.processorSeconds(), clock.now())
    let rate = try instruments.executor.flopRate(on: placement, in: .float32)
    let offered = Double(clock.now() - began) / 1e9 * Double(placement.threads)
    let used = probe.processorSeconds() - processor
    let hasOwnCPUs = placement.threads <= probe.cpuCount ?? placement.threads
    series.add(
      flopRate: rate, share: hasOwnCPUs && offered > 0 ? min(1, used / offered) : nil,
      clocks: probe.clockFrequencies())
    for arithmetic in plan.arithmetics where arithmetic != .float32 {
      series.add(
        flopRate: try instruments.executor.flopRate(on: placement, in: arithmetic), of: arithmetic)
    }
    if plan.usesBLAS { series.add(blasRate: try instruments.executor.blasRate(on: placement)) }
  }

  /// Warns, once in a sweep, that something else used the cores.
  func warnIfBusy(n: Int) {
    let totals = instruments.probe.interference()
    if let since = neighboursSince {
      busy.neighbours = NeighbourLoad(
        from: since.totals, to: totals, seconds: elapsed - since.time)
      if busy.neighbours != nil { neighboursSince = (elapsed, totals) }
    }
    busy.burstShare = ceilings.values.compactMap(\.coreShare).min()
    guard !saidBusy, let text = busy.warning(n: n) else { return }
    saidBusy = true
    warn(text)
  }

  /// Says so when the peak itself did not hold still: the figures of the size did not either.
  func warnOfDrift(of placement: SweepPlacement, n: Int) {
    guard let series = ceilings[placement], series.drift > CeilingSeries.notableDrift else {
      return
    }
    warn(
      "n = \(n), \(placement.threads) threads: the FMA peak moved by "
        + "\(SignificantDigits.three(100 * series.drift))% between bursts; "
        + (series.clockText ?? "the machine is busy or its clock changes"))
  }

  private func learnBandwidth(of placement: SweepPlacement) {
    if let rate = ceilings[placement]?.readRate {
      forecast.learn(byteRate: rate, threads: placement.threads)
    }
  }

  private func learnPeak(of placement: SweepPlacement) {
    for arithmetic in plan.arithmetics {
      if let rate = ceilings[placement]?.flopRate(arithmetic) {
        forecast.learn(flopRate: rate, threads: placement.threads, arithmetic: arithmetic)
      }
    }
  }
}
