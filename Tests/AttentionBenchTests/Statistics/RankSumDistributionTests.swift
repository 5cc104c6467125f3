import AttentionBench
import Testing

@Suite("Mann-Whitney distribution")
struct RankSumDistributionTests {
  @Test("Counts of four against four: all orders are alike")
  func counted() {
    // The number of orders of 4 + 4 samples with U = 0, 1, 2, ... of 70.
    let orders = [1, 1, 2, 3, 5, 5, 7, 7, 8, 7, 7, 5, 5, 3, 2, 1, 1]
    let distribution = RankSumDistribution(first: 4, second: 4)
    var below = 0
    for (u, count) in orders.enumerated() {
      below += count
      #expect(abs(distribution.tail(upTo: u) - Double(below) / 70) < 1e-14)
    }
    #expect(distribution.tail(upTo: -1) == 0)
    #expect(distribution.tail(upTo: 1000) == 1)
  }

  /// Tables of critical values of U for a two-sided test at 5%: the rank is one more.
  private static let critical: [(Int, Int, Int)] = [
    (3, 3, 0), (3, 4, 0), (4, 4, 1), (3, 5, 1), (2, 8, 1), (5, 5, 3), (6, 6, 6), (7, 7, 9),
    (8, 8, 14), (10, 10, 24), (10, 5, 9), (20, 20, 128),
  ]

  @Test("Ranks are those of the tables", arguments: critical)
  func ranks(first: Int, second: Int, rank: Int) {
    #expect(RankSumDistribution(first: first, second: second).rank(tail: 0.025) == rank)
    #expect(RankSumDistribution(first: second, second: first).rank(tail: 0.025) == rank)
  }

  @Test("The approximation follows on the exact counts, on the safe side")
  func approximation() {
    let exact = RankSumDistribution(first: 50, second: 50)
    let approximate = RankSumDistribution(first: 50, second: 51)
    for tail in [0.025, 0.001, 1e-5] {
      // 25 more pairs below the middle, and a deviation larger by 1.3%.
      let difference = approximate.rank(tail: tail) - exact.rank(tail: tail)
      #expect((0...25).contains(difference), "\(tail): \(difference)")
    }
    // Ten against 251: the exact probability is far below.
    #expect(RankSumDistribution(first: 10, second: 251).tail(upTo: 0) < 1e-6)
    #expect(RankSumDistribution(first: 10, second: 251).tail(upTo: 0) > 0)
  }

  @Test("Huge sets take no time and do not overflow")
  func huge() {
    let distribution = RankSumDistribution(first: 3_000_000, second: 2_000_000)
    let rank = distribution.rank(tail: 0.025)
    #expect(rank > 2_990_000_000_000 && rank < 3_000_000_000_000)
  }

  @Test(
    "The least number of samples that can reach a tail",
    arguments: [(0.5, 1), (0.17, 2), (0.05, 3), (0.025, 4), (0.025 / 46, 7), (1e-9, 17)])
  func least(tail: Double, count: Int) {
    #expect(RankSumDistribution.leastCount(tail: tail) == count)
    #expect(RankSumDistribution(first: count, second: count).tail(upTo: 0) <= tail)
    if count > 1 {
      #expect(RankSumDistribution(first: count - 1, second: count - 1).tail(upTo: 0) > tail)
    }
  }
}
