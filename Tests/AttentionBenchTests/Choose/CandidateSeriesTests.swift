import Attention
import AttentionBench
import Testing

/// What the families propose to a search.
@Suite struct CandidateSeriesTests {
  private func problem(_ n: Int, causal: Bool = true) throws -> AttentionProblem {
    try AttentionProblem(
      AttentionShape(heads: 1, queryLength: n, headDim: 8), visibility: Visibility(causal: causal))
  }

  private func specs(_ n: Int, _ density: SearchDensity = .search) throws -> [[String]] {
    let problem = try problem(n)
    return try StrategyRegistry.standard.candidateSeries(for: problem, density: density)
      .map { series in series.map { $0.spec(for: problem) } }
  }

  @Test func everyFamilyProposes() throws {
    let series = try specs(4096)
    let all = series.flatMap { $0 }
    let searched = [
      "full", "flash", "window", "strided", "fixed", "topblocks", "linear",
    ]
    for family in searched { #expect(all.contains { $0.hasPrefix(family) }, "\(family)") }
    let more = try specs(4096, .exhaustive).joined()
    for family in searched + ["dilated", "chunked", "bigbird"] {
      #expect(more.contains { $0.hasPrefix(family) }, "\(family)")
    }
    #expect(Set(all).count == all.count)
    #expect(all.contains("window(512)") && all.contains("window(512, sinks: 4)"))
    #expect(all.contains("strided(64)") && all.contains("fixed(64, 8)"))
  }

  @Test(arguments: [1, 2, 3, 17, 100, 1_000_000], [SearchDensity.search, .exhaustive])
  func everyProposalCanBeMade(n: Int, density: SearchDensity) throws {
    let series = try specs(n, density)
    #expect(series.flatMap { $0 }.count >= 6)
    #expect(series.allSatisfy { !$0.isEmpty })
  }

  /// Along a series the counted work never falls: that is what halving it relies on.
  @Test(arguments: [64, 1000, 4096], [false, true])
  func workRisesAlongASeries(n: Int, causal: Bool) throws {
    let problem = try problem(n, causal: causal)
    for series in try StrategyRegistry.standard.candidateSeries(for: problem, density: .search) {
      let pairs = try series.map { try $0.work(for: problem, threads: 1).pairs }
      for (before, after) in zip(pairs, pairs.dropFirst()) {
        // Near its minimum the cost of a stride is flat, and rounding decides.
        #expect(
          Double(after) >= 0.97 * Double(before),
          "\(series.map { $0.spec(for: problem) }): \(pairs)")
      }
    }
  }

  @Test func exhaustiveHoldsMoreThanASearch() throws {
    let search = Set(try specs(4096).joined())
    let all = Set(try specs(4096, .exhaustive).joined())
    // Not one expression with the counts in it: the compiler would try operators for 8 seconds.
    let (found, atLeast) = (2 * all.count, 3 * search.count)
    #expect(found > atLeast)
    #expect(all.contains("window(512, sinks: 256)"))
  }

  @Test func sizesRiseByTheSameFactor() {
    #expect(
      SearchDensity.search.sizes(from: 64, through: 80) == [64, 67, 70, 73, 76, 79])
    #expect(SearchDensity.search.sizes(from: 1, through: 4) == [1, 2, 3, 4])
    #expect(SearchDensity.search.sizes(from: 5, through: 4).isEmpty)
    #expect(SearchDensity.exhaustive.sizes(from: 64, through: 128).count == 21)
  }
}
