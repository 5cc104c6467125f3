import AttentionBench
import Foundation
import Testing

@Suite("Comparing two runs")
struct ComparisonTests {
  @Test("A run against itself is the same everywhere")
  func itself() throws {
    let sweep = RecordedSweep.made(seed: 1)
    let comparison = try RecordedSweep.compare(sweep, sweep)
    #expect(comparison.cells.count == 9)
    #expect(comparison.count(.same) == 9)
    #expect(!comparison.hasRegression)
    #expect(comparison.meanRatio?.ratio == 1)
    #expect(comparison.cautions == ["A and B hold the same run, r1"])
  }

  @Test("Ten percent are found in every cell, in either direction")
  func planted() throws {
    for seed in 1...10 as ClosedRange<UInt64> {
      let before = RecordedSweep.made(samples: 15, seed: seed)
      let after = RecordedSweep.made(samples: 15, factor: 1.1, seed: 100 + seed)
      #expect(try RecordedSweep.compare(before, after).count(.slower) >= 8)
      #expect(try RecordedSweep.compare(after, before).count(.faster) >= 8)
    }
  }

  @Test("One slower strategy is called, and no other")
  func plantedInOne() throws {
    let before = RecordedSweep.made(samples: 15, seed: 3)
    let after = RecordedSweep.made(samples: 15, seed: 4).scaled(by: 1.15) {
      $0.strategy.name == "flash"
    }
    let comparison = try RecordedSweep.compare(before, after)
    let slower = comparison.cells.filter { $0.verdict == .slower }
    #expect(slower.map(\.a.row.strategy.name) == ["flash", "flash", "flash"])
    #expect(comparison.hasRegression)
    #expect(comparison.count(.faster) == 0)
  }

  @Test("Runs of one build, and an effect of one percent, are hardly ever called")
  func falseAlarms() throws {
    var called = 0
    for seed in 1...100 as ClosedRange<UInt64> {
      let before = RecordedSweep.made(sizes: [1000, 2000], samples: 6, seed: seed)
      let after = RecordedSweep.made(
        sizes: [1000, 2000], samples: 6, factor: seed.isMultiple(of: 2) ? 1 : 1.01,
        seed: 1000 + seed)
      let comparison = try RecordedSweep.compare(before, after)
      called += comparison.count(.slower) + comparison.count(.faster)
    }
    // 600 cells, of which significance alone would call thirty.
    #expect(called <= 1, "\(called)")
  }

  @Test("An effect of one percent that is certain is the same")
  func smallEffect() throws {
    let sweep = RecordedSweep.made(samples: 40, seed: 5)
    let comparison = try RecordedSweep.compare(sweep, sweep.scaled(by: 1.01))
    #expect(comparison.count(.same) == 9)
    var rules = ComparisonRules()
    rules.minimumEffect = 0.005
    let strict = try RecordedSweep.compare(
      sweep, RecordedSweep.made(samples: 200, factor: 1.1, seed: 6), rules: rules)
    #expect(strict.count(.slower) == 9)
  }

  @Test("Too few samples are unclear, and the reason says how many it takes")
  func fewSamples() throws {
    let sweep = RecordedSweep.made(samples: 2, seed: 7)
    let comparison = try RecordedSweep.compare(sweep, sweep.scaled(by: 2))
    #expect(comparison.count(.unclear) == 9)
    #expect(comparison.cells.allSatisfy { $0.change == nil })
    #expect(
      comparison.cells[0].reason
        == "2 and 2 samples are too few: it takes 4 and 4 (--min-samples, --cell-timeout)")
    let beside = try RecordedSweep.compare(RecordedSweep.made(samples: 30, seed: 8), sweep)
    #expect(beside.count(.unclear) == 9)
    #expect(!comparison.hasRegression)
  }

  @Test("One cell of many needs more samples than chance has cells to hit")
  func manyCells() throws {
    let sizes = Array(stride(from: 1000, through: 16000, by: 1000))
    let before = RecordedSweep.made(sizes: sizes, samples: 6, seed: 8)
    let after = before.scaled(by: 1.3) {
      $0.strategy.name == "flash" && $0.shape.queryLength == 1000
    }
    let few = try RecordedSweep.compare(before, after)
    let cell = try #require(few.cells.first { $0.id == "flash-1000-2" })
    #expect(cell.verdict == .unclear)
    #expect(cell.reason.contains("among 48 cells chance gives as much with 10.4%"))
    #expect(cell.reason.hasSuffix("sweep with --min-samples 7"))
    // The same in a comparison of fewer cells is beyond chance.
    let alone = try RecordedSweep.compare(
      RecordedSweep(cells: before.cells.filter { $0.row.shape.queryLength == 1000 }),
      RecordedSweep(cells: after.cells.filter { $0.row.shape.queryLength == 1000 }))
    #expect(alone.count(.slower) == 1 && alone.count(.same) == 2)
  }

  @Test("A disturbance that spares the fastest samples is no slower code")
  func disturbed() throws {
    let quiet = RecordedSweep.Cell(
      .measured(), times: (0..<40).map { index -> Double in 1 + Double(index % 7) / 100 })
    let busy = RecordedSweep.Cell(
      .measured(),
      times: (0..<40).map { index -> Double in
        index.isMultiple(of: 8) ? 1.0 : 1.3 + Double(index % 7) / 100
      })
    let comparison = try RecordedSweep.compare(
      RecordedSweep(cells: [quiet]), RecordedSweep(cells: [busy]))
    #expect(comparison.cells[0].verdict == .unclear)
    #expect(comparison.cells[0].reason.contains("not between the fastest samples"))
    #expect((comparison.cells[0].change?.interval.lowerBound ?? 0) > 1.2)
  }

  @Test("Samples that hang together are worth few")
  func drifting() throws {
    let drift = RecordedSweep.Cell(
      .measured(), times: (0..<20).map { index -> Double in 1 + Double(index) / 50 })
    let steady = RecordedSweep.Cell(
      .measured(), times: (0..<12).map { index -> Double in 1.5 + Double(index * 5 % 12) / 99 })
    let comparison = try RecordedSweep.compare(
      RecordedSweep(cells: [drift]), RecordedSweep(cells: [steady]))
    #expect(comparison.cells[0].verdict == .unclear)
    #expect(comparison.cells[0].reason.hasPrefix("20 and 12 samples, worth 1 and 12 independent"))
  }

  @Test("Several runs a side must agree")
  func repeats() throws {
    try withTemporaryDirectory { path in
      let factors = ["a1": 1.0, "a2": 1.02, "b1": 1.2, "b2": 1.22, "lucky": 1.0]
      for (index, name) in factors.keys.sorted().enumerated() {
        try RecordedSweep.made(samples: 30, factor: factors[name] ?? 1, seed: UInt64(20 + index))
          .write(to: "\(path)/\(name)")
      }
      func run(_ name: String) throws -> RecordedRun { try RecordedRun(reading: "\(path)/\(name)") }
      let agreed = try #require(
        Comparison.ofRuns([try run("a1"), try run("a2")], [try run("b1"), try run("b2")]))
      #expect(agreed.count(.slower) == 9)
      let split = try #require(
        Comparison.ofRuns([try run("a1")], [try run("b1"), try run("lucky")]))
      #expect(split.count(.unclear) == 9)
      let reasons = split.cells.map(\.reason)
      #expect(reasons.contains("of 2 pairs of runs 1 SLOWER, 1 SAME"), "\(reasons)")
      #expect(split.cells.allSatisfy { $0.change?.interval.contains(1.1) == true })
      #expect(Comparison.ofRuns([], [try run("b1")]) == nil)
    }
  }
}
