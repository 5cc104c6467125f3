import AttentionBench
import Testing

@Suite("Sample summary")
struct SampleSummaryTests {
  @Test("Quartiles are type 7, as R and NumPy give by default")
  func quartiles() throws {
    // R: quantile(c(1, 2, 4, 8, 16, 32), c(.25, .5, .75)) is 2.5, 6, 14.
    let summary = try #require(SampleSummary([32, 1, 8, 2, 16, 4]))
    #expect(summary.lowerQuartile == 2.5)
    #expect(summary.median == 6)
    #expect(summary.upperQuartile == 14)
    #expect(summary.minimum == 1)
    #expect(summary.maximum == 32)
    #expect(summary.count == 6)
  }

  @Test("One sample is its own summary and promises nothing")
  func one() throws {
    let summary = try #require(SampleSummary([3]))
    #expect(summary.lowerQuartile == 3 && summary.median == 3 && summary.upperQuartile == 3)
    #expect(summary.interval.lower == 3 && summary.interval.upper == 3)
    #expect(summary.interval.coverage == 0)
  }

  @Test("Two samples: the interval is both, at 50%")
  func two() throws {
    let summary = try #require(SampleSummary([5, 1]))
    #expect(summary.median == 3)
    #expect(summary.interval.lower == 1 && summary.interval.upper == 5)
    #expect(summary.interval.coverage == 0.5)
    #expect(summary.relativeHalfWidth == 2.0 / 3)
  }

  @Test("Nothing, or something that is no number, has no summary")
  func unusable() {
    #expect(SampleSummary([]) == nil)
    #expect(SampleSummary([1, .nan]) == nil)
    #expect(SampleSummary([1, .infinity]) == nil)
  }

  /// Ranks and coverages from binomial tables: 1 - 2 * sum of C(n, k) for k < j, over 2^n.
  private static let intervals: [(Int, Int, Double)] = [
    (1, 1, 0.0), (2, 1, 0.5), (3, 1, 0.75), (4, 1, 0.875), (5, 1, 0.9375), (6, 1, 0.96875),
    (7, 1, 0.984375), (8, 1, 0.9921875), (9, 2, 1 - 2 * 10.0 / 512),
    (10, 2, 1 - 2 * 11.0 / 1024), (11, 2, 1 - 2 * 12.0 / 2048), (12, 3, 1 - 2 * 79.0 / 4096),
    (15, 4, 1 - 2 * 576.0 / 32768), (20, 6, 1 - 2 * 21700.0 / 1_048_576),
  ]

  @Test("Ranks and true coverage of the median's interval", arguments: intervals)
  func coverage(count: Int, rank: Int, coverage: Double) {
    let found = MedianInterval.rank(count: count)
    #expect(found.rank == rank)
    #expect(abs(found.coverage - coverage) < 1e-12)
  }

  @Test("Many samples neither underflow nor widen")
  func many() {
    // The normal approximation gives n/2 - 0.98 sqrt(n): 4902 of 10000, 40.2 of 100.
    #expect(MedianInterval.rank(count: 100).rank == 40)
    let found = MedianInterval.rank(count: 10_000)
    #expect((4900...4903).contains(found.rank))
    #expect((0.95..<0.952).contains(found.coverage))
  }

  @Test("The interval holds the true median as often as it says")
  func holds() {
    var generator = SeededGenerator(seed: 7)
    var hits = 0
    for _ in 0..<4000 {
      // Skewed on purpose: squares of uniforms have median 1/4.
      let samples = (0..<9).map { _ in
        let uniform = Double.random(in: 0..<1, using: &generator)
        return uniform * uniform
      }
      let interval = MedianInterval(sorted: samples.sorted())
      if interval.lower <= 0.25 && 0.25 <= interval.upper { hits += 1 }
    }
    // Four standard deviations of a proportion of 0.961 in 4000 trials are 0.012.
    #expect(abs(Double(hits) / 4000 - 0.9609375) < 0.0125)
  }
}
