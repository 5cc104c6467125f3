import Attention
import AttentionBench
import Foundation
import Testing

@Suite struct RecommendationTests {
  /// A measured row with the figures that a choice looks at.
  private static func row(
    _ name: String, seconds: Double, error: Double, workspace: Int = 1 << 20,
    spread: Double = 0.001
  ) -> ResultRow {
    var row = ResultRow.measured(name, seconds: seconds)
    row.time.median = seconds
    row.time.intervalLower = seconds * (1 - spread)
    row.time.intervalUpper = seconds * (1 + spread)
    row.accuracy.relativeL2 = error
    row.work.minimumBytes = 1 << 20
    row.work.workspaceBytes = workspace
    return row
  }

  private static let rows = [
    row("full", seconds: 4, error: 2e-7, workspace: 1 << 30),
    row("flash", seconds: 2, error: 5e-7),
    row("wide", seconds: 1, error: 5e-3),
    row("narrow", seconds: 0.5, error: 5e-2),
    row("poor", seconds: 0.6, error: 0.5),
    row("linear", seconds: 0.1, error: 0.8),
  ]

  private static func choose(
    error: Double? = nil, memory: Int? = nil, seconds: Double? = nil, _ rows: [ResultRow] = rows
  ) -> Recommendation {
    Recommendation(
      rows,
      requirements: Requirements(
        maximumError: error, maximumMemoryBytes: memory, maximumSeconds: seconds))
  }

  @Test(arguments: [
    (1e-6, "flash"), (1e-2, "wide"), (0.1, "narrow"), (1.0, "linear"),
  ])
  func theFastestWithinTheErrorIsChosen(error: Double, expected: String) {
    let result = Self.choose(error: error)
    #expect(result.choice == expected)
    #expect(result.verdict == .admissible)
    #expect(result.misses.isEmpty)
  }

  @Test func theParetoFrontLeavesOutWhatIsBeatenAndWhatDiffersByRounding() {
    let result = Self.choose()
    #expect(result.paretoFront == ["linear", "narrow", "wide", "flash"])
    #expect(result.candidates.map(\.strategy).first == "linear")
  }

  @Test func memoryCountsTensorsAndWorkspace() {
    let rows = [
      Self.row("big", seconds: 1, error: 0, workspace: 3 << 20),
      Self.row("small", seconds: 2, error: 0, workspace: 1 << 20),
    ]
    #expect(Self.choose(memory: 4 << 20, rows).choice == "big")
    #expect(Self.choose(memory: 3 << 20, rows).choice == "small")
  }

  @Test func theNearestMissIsTheOneWithTheLeastWorstFactor() {
    // flash misses the time four times; wide the error five times.
    let result = Self.choose(error: 1e-3, seconds: 0.5)
    #expect(result.verdict == .nearestMiss)
    #expect(result.choice == "flash")
    #expect(result.misses.map(\.description) == ["time 2.00 s > 500 ms"])
    let other = Self.choose(error: 2e-3, seconds: 0.4)
    #expect(other.choice == "wide")
    #expect(other.misses.map(\.requirement) == ["error", "time"])
  }

  /// A row of a class with parameters.
  private static func row(
    _ strategy: String, _ classification: String, seconds: Double, error: Double,
    samples: Int = 20, spread: Double = 0.03
  ) -> ResultRow {
    let parts = strategy.split(separator: "(", maxSplits: 1)
    var row = row(String(parts[0]), seconds: seconds, error: error, spread: spread)
    row.strategy.parameters = parts.count > 1 ? String(parts[1].dropLast()) : ""
    row.strategy.classification = classification
    row.time.samples = samples
    return row
  }

  @Test func anExactOneIsBeforeAllThatAreAsFast() {
    let rows = [
      Self.row("window(31379)", "restricted", seconds: 1, error: 3e-7),
      Self.row("window(31379, sinks: 4)", "restricted", seconds: 1.01, error: 1e-7),
      Self.row("flash", "exact", seconds: 1.05, error: 5e-7),
      Self.row("linear", "different", seconds: 0.99, error: 5e-3),
      Self.row("full", "exact", seconds: 1.5, error: 1e-7),
    ]
    let result = Self.choose(error: 1e-2, rows)
    #expect(result.choice == "flash")
    #expect(result.equallyFast == ["linear", "window(31379)", "window(31379, sinks: 4)"])
    // What is faster beyond doubt is chosen all the same.
    let faster = [Self.row("window(16)", "restricted", seconds: 0.5, error: 1e-3)]
    #expect(Self.choose(error: 1e-2, rows + faster).choice == "window(16)")
  }

  @Test func ofThoseThatAreAsFastTheOneThatLosesLessIsChosen() {
    let rows = [
      Self.row("window(300)", "restricted", seconds: 1, error: 9e-3),
      Self.row("strided(16)", "restricted", seconds: 1.01, error: 2e-3),
      Self.row("window(350)", "restricted", seconds: 1.02, error: 5e-3),
      Self.row("window(900)", "restricted", seconds: 1.3, error: 1e-4),
    ]
    let result = Self.choose(error: 1e-2, rows)
    #expect(result.choice == "strided(16)")
    #expect(result.equallyFast == ["window(300)", "window(350)"])
  }

  @Test func ofThoseThatLoseAsLittleTheOneWithPlainestParametersIsChosen() {
    let rows = [
      Self.row("flash(kv: 64, q: 96)", "exact", seconds: 1, error: 3e-7),
      Self.row("flash(q: 96)", "exact", seconds: 1.01, error: 5e-6),
      Self.row("flash", "exact", seconds: 1.02, error: 2e-7),
    ]
    for rows in [rows, rows.reversed()] {
      #expect(Self.choose(error: 1e-2, rows).choice == "flash")
      #expect(
        Self.choose(error: 1e-2, rows.filter { $0.strategy.parameters != "" }).choice
          == "flash(q: 96)")
    }
  }

  /// One run says nothing of two percent.
  @Test func fewRunsTellNothingApart() {
    func rows(_ samples: Int) -> [ResultRow] {
      [
        Self.row("window(9)", "restricted", seconds: 1, error: 3e-3, samples: samples, spread: 0),
        Self.row("flash", "exact", seconds: 1.02, error: 3e-7, samples: samples, spread: 0),
      ]
    }
    #expect(Self.choose(error: 1e-2, rows(1)).choice == "flash")
    #expect(Self.choose(error: 1e-2, rows(20)).choice == "window(9)")
  }

  @Test func anErrorThatIsNotKnownIsNotWithinALimit() {
    var row = Self.row("window(9)", "restricted", seconds: 1, error: 0)
    row.accuracy.relativeL2 = nil
    #expect(Self.choose(error: 1e-2, [row]).verdict == .nearestMiss)
    #expect(
      Self.choose(error: 1e-2, [row]).misses.map(\.description) == ["error unknown > 1.0e-02"])
    #expect(Self.choose([row]).choice == "window(9)")
    row.accuracy.relativeL2 = .infinity
    #expect(Self.choose(error: 1e-2, [row]).verdict == .nearestMiss)
  }

  @Test func equallyFastCandidatesAreNamed() {
    let rows = [
      Self.row("a", seconds: 1, error: 0, spread: 0.05),
      Self.row("b", seconds: 1.04, error: 0, spread: 0.05),
      Self.row("c", seconds: 1.5, error: 0, spread: 0.05),
    ]
    #expect(Self.choose(rows).equallyFast == ["b"])
  }

  @Test func skippedCandidatesAreListedAndNeverChosen() {
    let skipped = ResultRow.measured(
      "full", status: .skippedMemory, reason: "needs 37.6 GiB")
    let result = Self.choose([skipped, Self.row("flash", seconds: 2, error: 5e-7)])
    #expect(result.choice == "flash")
    #expect(result.candidates.last?.reason == "needs 37.6 GiB")
    let none = Self.choose([skipped])
    #expect(none.verdict == .none)
    #expect(none.choice == nil)
  }

  @Test func jsonHasUnitsInItsNames() throws {
    let data = try JSONEncoder().encode(Self.choose(error: 1e-2))
    let object = try #require(
      JSONSerialization.jsonObject(with: data) as? [String: Any])
    #expect(object["choice"] as? String == "wide")
    #expect(object["verdict"] as? String == "admissible")
    let candidates = try #require(object["candidates"] as? [[String: Any]])
    #expect(candidates.count == 6)
    #expect(candidates[0]["time_median_s"] as? Double == 0.1)
    #expect(try JSONDecoder().decode(Recommendation.self, from: data) == Self.choose(error: 1e-2))
  }
}
