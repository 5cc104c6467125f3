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
    row("exact", seconds: 4, error: 2e-7, workspace: 1 << 30),
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

  @Test func ofOneFamilyAndAsFastTheOneWithLessWorkIsChosen() {
    func row(_ parameters: String, _ seconds: Double, pairs: Int, family: String = "window")
      -> ResultRow
    {
      var row = Self.row(family, seconds: seconds, error: 0, spread: 0.03)
      row.strategy.parameters = parameters
      row.work.pairs = pairs
      return row
    }
    let rows = [
      row("347", 1, pairs: 347), row("332", 1.02, pairs: 332), row("300", 1.2, pairs: 300),
      row("16", 1.01, pairs: 16, family: "strided"),
    ]
    let result = Self.choose(rows)
    #expect(result.choice == "window(332)")
    #expect(result.equallyFast == ["window(347)", "strided(16)"])
    #expect(result.verdict == .admissible)
    // What is slower for certain is not chosen for its work, nor is another family.
    #expect(Self.choose(Array(rows.dropFirst(2))).choice == "strided(16)")
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
      "exact", status: .skippedMemory, reason: "needs 37.6 GiB")
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
