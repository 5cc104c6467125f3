import Attention
import AttentionBench
import Testing

/// The engine on a clock that only its runs move.
@Suite struct SweepEngineTests {
  @Test func steadyCellsStopAtSixSamples() throws {
    let sweep = FakeSweep()
    let outcome = try sweep.run()
    #expect(outcome.rows.count == 3)
    for row in sweep.store.rows {
      // Five samples hold the median with 93.75% only.
      #expect(row.status == .ok)
      #expect(row.time.samples == 6)
      #expect(row.time.median == 0.01)
      #expect(row.reason.isEmpty)
    }
    #expect(sweep.store.samples.count == 18)
    #expect(outcome.wasInterrupted == false)
  }

  @Test func theWarmUpIsNoSample() throws {
    let sweep = FakeSweep()
    sweep.executor.seconds = { _, count in count == 0 ? 1 : 0.01 }
    try sweep.run()
    #expect(sweep.executor.runs.count == 3 * 7)
    #expect(sweep.store.rows.allSatisfy { $0.time.median == 0.01 })
    #expect(sweep.store.samples.allSatisfy { $0.round > 0 })
  }

  @Test func aLongFirstRunIsASample() throws {
    var sweep = FakeSweep()
    sweep.strategies = "flash"
    sweep.executor.seconds = { _, _ in 21 }
    try sweep.run()
    let row = try #require(sweep.row("flash-n1000-t2"))
    #expect(row.status == .lowSamples)
    #expect(row.time.samples == 2)
    #expect(
      row.reason == "2 of 5 samples: another run of 21.0 s does not fit --cell-timeout 60s "
        + "(42.0 s measured)")
    #expect(sweep.executor.runs.count == 2)
  }

  @Test func noisyCellsSayWhy() throws {
    var sweep = FakeSweep()
    sweep.strategies = "flash"
    sweep.probe.stealsEveryTick = true
    sweep.executor.seconds = { _, count in count.isMultiple(of: 2) ? 0.1 : 0.3 }
    try sweep.run()
    let row = try #require(sweep.row("flash-n1000-t2"))
    #expect(row.status == .noisy)
    #expect(row.time.samples == SweepLimits.maximumSamples)
    #expect(row.reason.hasPrefix("interval ±50.0% > --rel-ci 2% after 200 samples: spread"))
    #expect(row.reason.contains("steal 100%"))
    #expect(row.reason.contains("involuntary context switches"))
    #expect(row.disturbance.stealPercent == 100)
  }

  @Test func aWiderIntervalEndsNoisySamplesEarlier() throws {
    var sweep = FakeSweep()
    sweep.strategies = "flash"
    sweep.executor.seconds = { _, count in count.isMultiple(of: 2) ? 0.1 : 0.12 }
    sweep.limits.relativeInterval = 0.2
    try sweep.run()
    #expect(sweep.row("flash-n1000-t2")?.status == .ok)
    #expect(sweep.row("flash-n1000-t2")?.time.samples == 6)
  }

  @Test func figuresFollowFromTheSamples() throws {
    var sweep = FakeSweep()
    sweep.strategies = "flash"
    try sweep.run()
    let row = try #require(sweep.row("flash-n1000-t2"))
    // 4 x 10^6 pairs, 256 operations each, in 10 ms: 102.4 GFLOP/s of 200.
    #expect(row.work.pairs == 4_000_000)
    #expect(abs((row.work.gflopPerSecond ?? 0) - 102.4) < 1e-9)
    #expect(abs((row.work.percentOfPeak ?? 0) - 51.2) < 1e-9)
    #expect(abs((row.time.cpuTime ?? 0) - 0.02) < 1e-9)
    #expect(row.work.peakRSSDeltaBytes == row.work.workspaceBytes)
    #expect(row.placement.bind == "none")
  }

  @Test func withoutAPeakRestartThereIsNoPeak() throws {
    let sweep = FakeSweep()
    sweep.probe.canRestartPeak = false
    var warnings: [String] = []
    try sweep.run { if case .warning(let text) = $0 { warnings.append(text) } }
    #expect(sweep.store.rows.allSatisfy { $0.work.peakRSSDeltaBytes == nil })
    #expect(warnings.count == 1)
  }

  @Test func ceilingsAreTakenForEachSizeAndPlacement() throws {
    var sweep = FakeSweep()
    sweep.sizes = [100, 200]
    sweep.threads = [1, 2]
    let outcome = try sweep.run()
    #expect(outcome.ceilings.map(\.n) == [100, 100, 200, 200])
    #expect(outcome.ceilings.map(\.threads) == [1, 2, 1, 2])
    #expect(outcome.ceilings.map(\.fmaGflopPerSecond) == [100, 200, 100, 200])
    #expect(outcome.ceilings[0].readGBPerSecond == 30)
  }

  /// A run of 1.024e9 operations takes 10 ms; the peaks are 200 and 400 GFLOP/s.
  @Test(.enabled(if: KernelTable.active.runs(.bfloat16)))
  func cellsAreHeldAgainstThePeakOfTheirArithmetic() throws {
    var sweep = FakeSweep()
    sweep.strategies = "flash,flash(arithmetic: bf16)"
    let outcome = try sweep.run()
    #expect(outcome.ceilings.map(\.fmaGflopPerSecond) == [200])
    #expect(outcome.ceilings.map { $0.products[.bfloat16] } == [400])
    for row in outcome.rows {
      #expect(row.arithmetic == (row.strategy.parameters.isEmpty ? .float32 : .bfloat16))
      let percent = try #require(row.work.percentOfPeak)
      #expect(abs(percent - (row.arithmetic == .float32 ? 51.2 : 25.6)) < 1e-9)
    }
    #expect(Set(outcome.rows.map(\.arithmetic)).count == 2)
  }

  /// One cell is steady from the start, the other one after ten runs.
  @Test(arguments: [false, true])
  func cellsEndTogetherWhereDifferencesMatter(together: Bool) throws {
    var sweep = FakeSweep()
    sweep.strategies = "full,flash"
    sweep.limits.endsTogether = together
    sweep.executor.seconds = { cell, count in
      cell.id.hasPrefix("flash") && count < 10 ? 0.01 * Double(1 + count % 3) : 0.01
    }
    let samples = try sweep.run().rows.map(\.time.samples)
    #expect(samples.count == 2 && samples.allSatisfy { $0 >= 5 })
    #expect((samples[0] == samples[1]) == together)
  }

  /// Data whose rate falls by a tenth from one run to the next.
  @Test(arguments: [(500, "mem"), (1 << 39, "L3")])
  func dataAreReadBetweenTheRoundsOfCellsThatReadingBounds(cache: Int, level: String) throws {
    let sweep = FakeSweep()
    sweep.executor.rate = 1e16
    sweep.executor.caches = CacheCapacities([
      .init(number: 3, byteCount: cache, count: 1, cores: 2)
    ])
    var factor = level == "mem" ? 1.0 : 4.0
    sweep.executor.workingSetRate = { _ in 30e9 * factor }
    sweep.executor.willRun = { _ in factor *= 0.99 }
    let outcome = try sweep.run()
    #expect(sweep.executor.readings == 1)
    let sets = try #require(outcome.ceilings.first?.workingSets)
    #expect(sets.map(\.bytes) == [4 * 4 * 1000 * 64 * 4] && sets.map(\.level) == [level])
    #expect(sets[0].gbRange[0] < sets[0].gbPerSecond)
    #expect(sets[0].gbPerSecond < sets[0].gbRange[1])
    for row in outcome.rows {
      let rate = try #require(row.gigabytesPerSecond)
      #expect(row.readShare(ceilings: outcome.ceilings) == rate / sets[0].gbPerSecond)
    }
  }

  /// Its first run is its last.
  @Test func dataOfALongCellAreReadToo() throws {
    let sweep = FakeSweep()
    sweep.executor.rate = 1e16
    sweep.executor.seconds = { _, _ in 100 }
    let outcome = try sweep.run()
    #expect(outcome.ceilings.first?.workingSets?.count == 1)
  }

  @Test func dataOfCellsThatArithmeticBoundsAreNotRead() throws {
    let sweep = FakeSweep()
    let outcome = try sweep.run()
    #expect(sweep.executor.workingSets.isEmpty && sweep.executor.readings == 1)
    #expect(outcome.ceilings.first?.workingSets == nil)
  }

  @Test func onlyCellsOfTheMatrixLibrarySayHowFastItIs() throws {
    var sweep = FakeSweep()
    sweep.strategies = "full,flash"
    sweep.executor.blasShare = 0.15
    let outcome = try sweep.run()
    let percent = try #require(sweep.row("full-n1000-t2")?.work.blasPercentOfPeak)
    #expect(abs(percent - 15) < 1e-9)
    #expect(sweep.row("flash-n1000-t2")?.work.blasPercentOfPeak == nil)
    #expect(outcome.ceilings.first?.blasGflopPerSecond == 30)
    sweep = FakeSweep()
    sweep.strategies = "flash"
    #expect(try sweep.run().ceilings.first?.blasGflopPerSecond == nil)
  }

  @Test func aMovingPeakIsWarnedOf() throws {
    let sweep = FakeSweep()
    var warnings: [String] = []
    sweep.executor.willRun = { _ in sweep.executor.rate *= 0.99 }
    try sweep.run { if case .warning(let text) = $0 { warnings.append(text) } }
    #expect(warnings.count == 1)
    #expect(warnings.first?.contains("FMA peak moved") == true)
  }
}

/// Rounds, order and what shares memory.
@Suite struct SweepOrderTests {
  private static func order(seed: UInt64, _ order: SweepLimits.Order) throws -> [String] {
    var sweep = FakeSweep()
    sweep.strategies = "full,flash,window(512),strided,fixed,linear"
    sweep.seed = seed
    sweep.limits.order = order
    try sweep.run()
    return sweep.executor.runs
  }

  @Test func roundsInterleaveAllCells() throws {
    let runs = try Self.order(seed: 1, .random)
    #expect(runs.count == 6 * 7)
    let rounds = stride(from: 0, to: runs.count, by: 6).map { Array(runs[$0..<$0 + 6]) }
    #expect(rounds.allSatisfy { Set($0).count == 6 })
    #expect(Set(rounds.dropFirst()).count > 1)
  }

  @Test func theSeedDecidesTheOrder() throws {
    #expect(try Self.order(seed: 1, .random) == Self.order(seed: 1, .random))
    #expect(try Self.order(seed: 1, .random) != Self.order(seed: 2, .random))
  }

  @Test func serialOrderIsThePlan() throws {
    let runs = try Self.order(seed: 1, .serial)
    #expect(Array(runs[6..<12]) == Array(runs[0..<6]))
    #expect(runs.first == "full-n1000-t2")
  }

  @Test func eachCellIsCheckedRightAfterItsLastRun() throws {
    var sweep = FakeSweep()
    sweep.strategies = "full,flash,linear"
    try sweep.run()
    for (index, entry) in sweep.executor.log.enumerated() where entry.hasPrefix("check") {
      #expect(sweep.executor.log[index - 1] == entry.replacing("check", with: "run"))
    }
    #expect(sweep.executor.log.count { $0.hasPrefix("check") } == 3)
  }

  @Test func workspacesThatDoNotFitTogetherTakeTurns() throws {
    var sweep = FakeSweep()
    sweep.strategies = "full"
    sweep.threads = [1, 2]
    sweep.sizes = [4096]
    let work = try sweep.plan().cells[0].work.get()
    let tensors = try sweep.plan().cells[0].tensorBytes
    sweep.limits.memoryBytes = tensors + work.workspaceBytes * 3 / 2
    try sweep.run()
    #expect(sweep.store.rows.map(\.status) == [.ok, .ok])
    #expect(sweep.executor.mostPlannedBytes < work.workspaceBytes * 3 / 2)
    #expect(sweep.executor.plannedBytes == 0)
  }
}
