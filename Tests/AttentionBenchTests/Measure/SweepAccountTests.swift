import Attention
import AttentionBench
import Testing

/// What a sweep keeps and tells beside its rows, on a clock that only its runs move.
@Suite struct SweepAccountTests {
  /// Keeps what it is given in the order it comes.
  private final class Journal: ResultStore {
    private(set) var entries: [String] = []
    private(set) var ceilings: [MachineCeiling] = []

    func append(_ row: ResultRow, samples: [SampleRow]) throws(RecordError) {
      entries.append(row.cellID)
    }

    func keep(_ ceilings: [MachineCeiling]) throws(RecordError) {
      entries.append("ceilings \(ceilings.map(\.n))")
      self.ceilings = ceilings
    }
  }

  @Test func ceilingsAreKeptBeforeTheFirstCellOfTheirSizeEnds() throws {
    var sweep = FakeSweep()
    sweep.sizes = [1000, 2000]
    sweep.strategies = "flash"
    let journal = Journal()
    let outcome = try sweep.run(store: journal)
    #expect(
      journal.entries == [
        "ceilings [1000]", "flash-n1000-t2", "ceilings [1000]", "ceilings [1000, 2000]",
        "flash-n2000-t2", "ceilings [1000, 2000]",
      ])
    #expect(journal.ceilings == outcome.ceilings)
  }

  @Test func samplesWithoutARowAreNumberedOn() throws {
    var sweep = FakeSweep()
    sweep.strategies = "flash"
    // A kill came after the samples and before the row.
    sweep.earlierSamples = ["flash-n1000-t2": 6]
    try sweep.run()
    #expect(sweep.store.samples.map(\.index) == Array(6..<12))
  }

  @Test func aBudgetThatRunsOutEndsACellAsItIs() throws {
    var sweep = FakeSweep()
    sweep.strategies = "flash"
    sweep.limits.budget = 10
    sweep.limits.wording.budget = "10s"
    // The first runs are short; then there is no time left for another.
    sweep.executor.seconds = { _, count in count < 4 ? 1 : 5 }
    try sweep.run()
    let row = try #require(sweep.row("flash-n1000-t2"))
    #expect(row.status == .noisy)
    #expect(row.time.samples == 5)
    #expect(row.reason.hasSuffix("; --budget 10s has no time for another run"), "\(row.reason)")
  }

  @Test func aFirstRunBeyondTheTimeOfACellIsItsOnlySample() throws {
    var sweep = FakeSweep()
    sweep.strategies = "flash"
    sweep.executor.seconds = { _, _ in 100 }
    try sweep.run()
    let row = try #require(sweep.row("flash-n1000-t2"))
    #expect(row.status == .lowSamples)
    #expect(row.time.samples == 1)
    #expect(row.time.median == 100)
  }

  @Test func noCellHasMoreThanTheMostSamples() throws {
    var sweep = FakeSweep()
    sweep.strategies = "flash"
    sweep.executor.seconds = { _, count in count.isMultiple(of: 2) ? 0.001 : 0.003 }
    try sweep.run()
    #expect(sweep.row("flash-n1000-t2")?.time.samples == SweepLimits.maximumSamples)
    #expect(
      sweep.row("flash-n1000-t2")?.reason.hasSuffix("the most samples a cell gets") == true)
  }

  @Test func progressIsToldAtMostTenTimesASecond() throws {
    var sweep = FakeSweep()
    sweep.strategies = "flash"
    sweep.executor.seconds = { _, count in count.isMultiple(of: 2) ? 0.01 : 0.03 }
    var moments: [UInt64] = []
    try sweep.run { if case .progress = $0 { moments.append(sweep.clock.now()) } }
    #expect(moments.count > 10)
    #expect(zip(moments, moments.dropFirst()).allSatisfy { $1 - $0 >= 100_000_000 })
  }

  @Test func eventsOfASizeComeInOrder() throws {
    var sweep = FakeSweep()
    sweep.sizes = [1000, 2000]
    sweep.strategies = "flash,linear"
    var events: [String] = []
    try sweep.run { event in
      switch event {
      case .sizeStarted(let n, let cells): events.append("size \(n) \(cells)")
      case .cellStarted(let cell): events.append("start \(cell.n)")
      case .cellFinished(let cell, _): events.append("end \(cell.n)")
      case .ceilings(let n, let ceilings): events.append("ceilings \(n) \(ceilings.count)")
      case .progress, .warning: break
      }
    }
    let one = [
      "size 1000 2", "start 1000", "start 1000", "end 1000", "end 1000", "ceilings 1000 1",
    ]
    #expect(events == one + one.map { $0.replacing("1000", with: "2000") })
  }

  @Test func ceilingsThatCannotBeMeasuredCostAWarning() throws {
    var sweep = FakeSweep()
    sweep.strategies = "flash"
    sweep.executor.burstFailure = FakeFailure(description: "no bursts")
    var warnings: [String] = []
    let outcome = try sweep.run { if case .warning(let text) = $0 { warnings.append(text) } }
    #expect(warnings == ["the machine's ceilings could not be measured: no bursts"])
    #expect(outcome.ceilings.isEmpty)
    let row = try #require(sweep.row("flash-n1000-t2"))
    #expect(row.status == .ok)
    #expect(row.work.percentOfPeak == nil && row.work.gflopPerSecond != nil)
  }

  @Test(arguments: [0, 1, 2]) func burstsThatDisagreeAreOutvoted(disturbed: Int) throws {
    var sweep = FakeSweep()
    sweep.strategies = "flash"
    let executor = sweep.executor
    var bursts = 0
    executor.willBurst = {
      bursts += 1
      executor.rate = bursts <= disturbed ? 50e9 : 100e9
    }
    var atFirst: Int?
    executor.willRun = { _ in if atFirst == nil { atFirst = bursts } }
    try sweep.run { _ in }
    #expect(atFirst == (disturbed == 0 ? 3 : 9))
    let work = try #require(sweep.row("flash-n1000-t2")).work
    let rate = try #require(work.gflopPerSecond)
    let percent = try #require(work.percentOfPeak)
    #expect(abs(percent - 100 * rate / 200) < 1e-9 * percent)
  }

  @Test func aResumedRunEqualsAnUninterruptedOne() throws {
    func sweep() -> FakeSweep {
      var sweep = FakeSweep()
      sweep.sizes = [1000, 2000, 100_000]
      sweep.limits.memoryBytes = 4 << 30
      sweep.executor.seconds = { cell, _ in Double(cell.n) / 1e5 }
      sweep.executor.check = { cell, _ in
        var accuracy = ResultRow.Accuracy()
        accuracy.relativeL2 = 1 / Double(cell.n)
        return OutputCheck(accuracy: accuracy)
      }
      return sweep
    }
    let whole = try sweep().run().rows
    #expect(whole.count == 9)
    // Stopped after any number of runs, and gone on with.
    for stopAfter in stride(from: 1, through: 60, by: 7) {
      let first = sweep()
      let (stop, executor) = (first.stop, first.executor)
      executor.willRun = { _ in if executor.runs.count == stopAfter { stop.raise() } }
      try first.run()
      var second = sweep()
      second.earlierRows = first.store.rows
      try second.run()
      let rows = (first.store.rows + second.store.rows).filter { $0.status != .interrupted }
      #expect(Set(rows.map(\.cellID)).count == rows.count)
      for row in whole {
        let found = try #require(rows.first { $0.cellID == row.cellID })
        #expect(found.status == row.status && found.time.samples == row.time.samples)
        #expect(found.time.median == row.time.median)
        #expect(found.work == row.work && found.accuracy == row.accuracy)
      }
    }
  }
}
