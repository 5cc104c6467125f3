import Attention
import AttentionBench
import SystemPackage
import Testing

/// Skips, failures, interruption and resumption.
@Suite struct SweepEndingTests {
  @Test func memoryIsCheckedBeforeAnythingIsLoaded() throws {
    var sweep = FakeSweep()
    sweep.strategies = "full"
    sweep.sizes = [100_000]
    sweep.limits.memoryBytes = 16 << 30
    try sweep.run()
    let row = try #require(sweep.row("full-n100000-t2"))
    #expect(row.status == .skippedMemory)
    #expect(row.reason.contains("workspace 37.3 GiB"))
    #expect(
      row.work.workspaceBytes
        == 4 * (100_000 * 100_000 + 2 * 256 + 2 * 256 * 64))
    #expect(row.time.median == nil)
    #expect(sweep.executor.log.isEmpty)
  }

  @Test func memoryThatIsGoneMeanwhileIsNotTaken() throws {
    let sweep = FakeSweep()
    sweep.probe.available = 1 << 10
    try sweep.run()
    #expect(sweep.store.rows.allSatisfy { $0.status == .skippedMemory })
    #expect(sweep.store.rows[0].reason.hasSuffix("> 1.00 KiB available"))
    #expect(sweep.executor.runs.isEmpty)
  }

  @Test func timeIsPredictedFromSmallerSizes() throws {
    var sweep = FakeSweep()
    sweep.strategies = "flash,linear"
    sweep.sizes = [1000, 2000, 8000]
    sweep.executor.seconds = { cell, _ in
      cell.id.hasPrefix("flash") ? 2 * Double(cell.n * cell.n) / 1e6 : 0.001
    }
    try sweep.run()
    let skipped = try #require(sweep.row("flash-n8000-t2"))
    #expect(skipped.status == .skippedTime)
    #expect(
      skipped.reason
        == "predicted 128 s > --cell-timeout 60s (from 8.00 s at 2000, slope 2.00)")
    #expect(sweep.row("linear_elu-n8000-t2")?.status == .ok)
  }

  @Test func aHopelessFirstSizeIsSkippedByThePeak() throws {
    var sweep = FakeSweep()
    sweep.strategies = "flash"
    sweep.sizes = [1_000_000]
    try sweep.run()
    let row = try #require(sweep.row("flash-n1000000-t2"))
    // 1.024 10^15 operations at 200 GFLOP/s.
    #expect(row.status == .skippedTime)
    #expect(
      row.reason == "predicted 5120 s > --cell-timeout 60s "
        + "(at least, by the FMA peak of 200 GFLOP/s)")
    #expect(sweep.executor.log.isEmpty)
  }

  @Test func theBudgetIsKept() throws {
    var sweep = FakeSweep()
    sweep.strategies = "flash"
    sweep.sizes = [1000, 2000, 4000]
    sweep.limits.budget = 30
    sweep.limits.wording.budget = "30s"
    sweep.executor.seconds = { cell, _ in Double(cell.n * cell.n) / 1e6 }
    try sweep.run()
    // 1 s and 4 s a run, 16 s predicted for the last.
    #expect(sweep.row("flash-n1000-t2")?.status.isMeasured == true)
    #expect(sweep.row("flash-n2000-t2")?.status.isMeasured == true)
    let last = try #require(sweep.row("flash-n4000-t2"))
    #expect(last.status == .skippedTime)
    #expect(last.reason.contains("left of --budget 30s (from 4.00 s at 2000, slope 2.00)"))
    #expect(Double(sweep.clock.now()) / 1e9 < 30)
  }

  @Test func noiseDoesNotEatTheTimeOfLaterCells() throws {
    var sweep = FakeSweep()
    sweep.strategies = "flash"
    sweep.sizes = [1000, 2000, 4000]
    sweep.limits.budget = 120
    sweep.executor.seconds = { cell, count in
      let steady = Double(cell.n * cell.n) / 1e6
      return cell.n == 4000 ? steady : steady * (count.isMultiple(of: 2) ? 0.5 : 1.5)
    }
    sweep.limits.minimumSamples = 2
    try sweep.run()
    #expect(sweep.store.rows.count == 3)
    #expect(sweep.store.rows.allSatisfy { $0.status.isMeasured })
    #expect(Double(sweep.clock.now()) / 1e9 <= 121)
  }

  @Test func failuresAreRowsAndTheSweepGoesOn() throws {
    let sweep = FakeSweep()
    sweep.executor.prepareFailure = {
      $0.spec == "full" ? FakeFailure(description: "no room") : nil
    }
    sweep.executor.runFailure = { cell, count in
      cell.spec == "flash" && count == 3 ? FakeFailure(description: "fell over") : nil
    }
    try sweep.run()
    #expect(sweep.row("full-n1000-t2")?.status == .error)
    #expect(sweep.row("full-n1000-t2")?.reason == "no room")
    #expect(sweep.row("flash-n1000-t2")?.reason == "fell over")
    #expect(sweep.row("flash-n1000-t2")?.time.samples == 2)
    #expect(sweep.row("window_512-n1000-t2")?.status == .ok)
  }

  @Test func inputsThatCannotBeLoadedFailTheSizeOnly() throws {
    var sweep = FakeSweep()
    sweep.executor.loadFailure = FakeFailure(description: "no inputs")
    sweep.strategies = "flash"
    try sweep.run()
    #expect(sweep.row("flash-n1000-t2")?.status == .error)
    #expect(sweep.row("flash-n1000-t2")?.reason == "no inputs")
  }

  @Test func aWrongOutputIsWrongHoweverSteadyItsTimes() throws {
    var sweep = FakeSweep()
    sweep.sizes = [1000, 2000]
    sweep.executor.check = { cell, _ in
      OutputCheck(accuracy: .init(), fault: cell.id == "flash-n1000-t2" ? "off by one" : nil)
    }
    // Were its time believed, the next size would be predicted from it, and skipped.
    sweep.executor.seconds = { cell, _ in cell.id == "flash-n1000-t2" ? 50 : 0.01 }
    try sweep.run()
    let wrong = try #require(sweep.row("flash-n1000-t2"))
    #expect(wrong.status == .wrong && wrong.reason == "off by one")
    #expect(wrong.time.samples > 0)
    #expect(sweep.row("flash-n2000-t2")?.status == .ok)
    #expect(sweep.row("full-n1000-t2")?.status == .ok)
  }

  @Test func aMissingDistanceIsARemark() throws {
    let sweep = FakeSweep()
    sweep.executor.check = { cell, _ in
      OutputCheck(accuracy: .init(), remark: "no error: not finite")
    }
    try sweep.run()
    #expect(sweep.row("flash-n1000-t2")?.status == .ok)
    #expect(sweep.row("flash-n1000-t2")?.reason == "no error: not finite")
  }

  @Test func anInterruptionKeepsWhatThereIs() throws {
    var sweep = FakeSweep()
    sweep.sizes = [1000, 2000]
    sweep.strategies = "full,flash"
    let (stop, executor) = (sweep.stop, sweep.executor)
    // Two warm-ups, two rounds of two, and the run under way when the user interrupts.
    sweep.executor.willRun = { _ in if executor.runs.count == 6 { stop.raise() } }
    let outcome = try sweep.run()
    #expect(outcome.wasInterrupted)
    #expect(sweep.executor.runs.count == 7)
    #expect(sweep.store.rows.map(\.status) == [.interrupted, .interrupted])
    #expect(sweep.store.rows.map(\.time.samples).sorted() == [2, 3])
    #expect(sweep.store.samples.count == 5)
    #expect(!sweep.executor.log.contains("load 2000"))
  }

  @Test func aStopBeforeTheFirstSampleLeavesNothing() throws {
    let sweep = FakeSweep()
    let stop = sweep.stop
    sweep.executor.willRun = { _ in stop.raise() }
    let outcome = try sweep.run()
    #expect(outcome.wasInterrupted)
    #expect(sweep.store.rows.isEmpty)
  }

  @Test func aResumeRunsWhatIsMissing() throws {
    var first = FakeSweep()
    first.sizes = [1000, 2000]
    let whole = try first.run()
    var rows = whole.rows
    // Settled: ok, noisy, skipped for memory. Not settled: skipped for time, wrong, interrupted.
    rows[1].status = .noisy
    rows[2].status = .skippedMemory
    rows[3].status = .skippedTime
    rows[4].status = .wrong
    rows[5].status = .interrupted
    var second = FakeSweep()
    second.sizes = [1000, 2000]
    second.earlierRows = rows
    let rest = try second.run()
    #expect(Set(rest.rows.map(\.cellID)) == Set(rows[3...].map(\.cellID)))
    #expect(!second.executor.log.contains("load 1000"))
    #expect(rest.wasInterrupted == false)
    // Samples of an interrupted cell stay in the file: those of its second start go on from there.
    let again = second.store.samples.filter { $0.cellID == rows[5].cellID }
    #expect(again.map(\.index) == Array(6..<12))
  }

  @Test func aResumePredictsFromTheEarlierRows() throws {
    var first = FakeSweep()
    first.strategies = "flash"
    first.executor.seconds = { _, _ in 4 }
    let rows = try first.run().rows
    var second = FakeSweep()
    second.strategies = "flash"
    second.sizes = [1000, 10_000]
    second.earlierRows = rows
    try second.run()
    #expect(
      second.row("flash-n10000-t2")?.reason
        == "predicted 400 s > --cell-timeout 60s (from 4.00 s at 1000, by the ratio of flops)")
  }

  private final class FullDisk: ResultStore {
    func append(_ row: ResultRow, samples: [SampleRow]) throws(RecordError) {
      throw .system(operation: "write to", path: "results.csv", errno: .noSpace)
    }
  }

  @Test func aFullDiskEndsTheSweep() throws {
    let sweep = FakeSweep()
    #expect(throws: RecordError.self) { try sweep.run(store: FullDisk()) }
  }

  @Test func progressCountsDown() throws {
    var sweep = FakeSweep()
    sweep.sizes = [1000, 2000, 4000]
    sweep.strategies = "flash,linear"
    sweep.executor.seconds = { cell, _ in Double(cell.n) / 1000 }
    var left: [Double] = []
    var finished: [Int] = []
    var started = 0
    try sweep.run { event in
      if case .progress(let progress) = event {
        finished.append(progress.finishedCells)
        #expect(progress.totalCells == 6)
        // Before the last size everything later is extrapolated.
        if progress.finishedCells >= 4, let seconds = progress.secondsLeft { left.append(seconds) }
      }
      if case .cellStarted = event { started += 1 }
    }
    #expect(started == 6)
    #expect(finished == finished.sorted())
    #expect(left.count > 5)
    #expect(zip(left, left.dropFirst()).allSatisfy { $0 >= $1 })
    #expect(left.last.map { $0 < 10 } == true)
  }
}
