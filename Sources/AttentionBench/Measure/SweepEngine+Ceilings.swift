import Attention

/// What a sweep measures of the machine beside its cells.
extension SweepEngine {
  /// The ceilings of the size in work so far.
  func ceilings(n: Int) -> [MachineCeiling] {
    plan.placements.compactMap { ceilings[$0]?.ceiling(n: n, placement: $0) }
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

  /// One more burst on every placement that still has cells to run, and one more reading of memory
  /// where cells wait for that: other guests of a host change its rate from one second to the next.
  func measureDrift(for cells: [SweepCell]) {
    for placement in Set(cells.map(\.placement)) {
      guard var series = ceilings[placement], series.count < CeilingSeries.maximumCount,
        (try? burst(on: placement, into: &series)) != nil
      else { continue }
      if cells.contains(where: { $0.placement == placement && isBoundByMemory($0) }),
        let rate = try? instruments.executor.readRate(on: placement)
      {
        series.add(readRate: rate)
      }
      ceilings[placement] = series
      learnPeak(of: placement)
      learnBandwidth(of: placement)
    }
  }

  /// Whether a cell has to wait for memory rather than for arithmetic. Of less data than that, caches
  /// keep a part from run to run, which a reading of memory between them would push out.
  private func isBoundByMemory(_ cell: SweepCell) -> Bool {
    guard case .success(let work) = cell.work else { return false }
    return work.minimumBytes >= 2 * instruments.executor.cacheByteCount
      && forecast.isBoundByMemory(cell)
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
    if plan.arithmetics.contains(.bfloat16) {
      series.add(bf16Rate: try instruments.executor.flopRate(on: placement, in: .bfloat16))
    }
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
