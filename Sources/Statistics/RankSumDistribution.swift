import RealModule

/// How the Mann-Whitney count U is distributed when two sets of samples come from one distribution.
///
/// U is the number of pairs (a, b), of m times n, in which b is the larger. Without a difference
/// every order of the m + n samples is as likely as any other, so that the distribution of U
/// depends on m and n alone, whatever the samples are distributed like.
///
/// Up to 2500 pairs it is counted exactly: the largest of all samples is one of the m with
/// probability m / (m + n), which leaves U as it was, and otherwise one of the n, which adds m to
/// it. Beyond, the normal approximation with continuity correction takes over. The kurtosis of U is
/// below the normal's, so that this overstates tails beyond 1.73 standard deviations a little: the
/// safe side.
///
/// Source: Mann and Whitney, "On a test of whether one of two random variables is stochastically
/// larger than the other", Annals of Mathematical Statistics 18(1), 1947.
public struct RankSumDistribution: Sendable {
  /// How many samples each set has.
  public let counts: (first: Int, second: Int)
  /// P(U <= u) at index u; empty where the normal approximation serves.
  private let cumulative: [Double]

  private static let mostExactPairs = 2500

  /// The distribution for sets of `first` and `second` samples. Takes time that grows as the square
  /// of the pairs, up to 2500 of them.
  ///
  /// - Precondition: both sets have a sample.
  public init(first: Int, second: Int) {
    precondition(first >= 1 && second >= 1, "a comparison needs samples of both")
    counts = (first, second)
    let (pairs, overflow) = first.multipliedReportingOverflow(by: second)
    cumulative = overflow || pairs > Self.mostExactPairs ? [] : Self.count(first, second)
  }

  /// The number of pairs, the largest value of U.
  public var pairs: Double { Double(counts.first) * Double(counts.second) }

  /// P(U <= u), which by symmetry is P(U >= pairs - u) too.
  public func tail(upTo u: Int) -> Double {
    if u < 0 { return 0 }
    guard !cumulative.isEmpty else {
      // Half a step further than u, as the values of U are whole numbers.
      return Self.normalTail((Double(u) + 0.5 - pairs / 2) / deviation)
    }
    return u < cumulative.count - 1 ? cumulative[u] : 1
  }

  /// The largest k with P(U <= k - 1) <= `tail`: the k-th smallest and the k-th largest of the
  /// pairwise differences are then the ends of an interval that misses the true difference with at
  /// most that probability on either side. 0 when there are too few samples for any.
  public func rank(tail: Double) -> Int {
    var (below, above) = (0, Int(min(pairs / 2, Double(Int.max / 2))) + 1)
    while above - below > 1 {
      let middle = below + (above - below) / 2
      if self.tail(upTo: middle - 1) <= tail { below = middle } else { above = middle }
    }
    return below
  }

  /// The least number of samples of either set, alike, from which `tail` can be reached at all:
  /// all of one set above all of the other has the probability 1 / C(2k, k).
  ///
  /// - Precondition: `tail` is above 0.
  public static func leastCount(tail: Double) -> Int {
    precondition(tail > 0, "no number of samples makes chance impossible")
    var (count, probability) = (1, 0.5)
    while probability > tail {
      count += 1
      probability *= Double(count) / (2 * (2 * Double(count) - 1))
    }
    return count
  }

  private var deviation: Double {
    (pairs * (Double(counts.first) + Double(counts.second) + 1) / 12).squareRoot()
  }

  private static func normalTail(_ z: Double) -> Double {
    min(1, Double.erfc(-z / 2.0.squareRoot()) / 2)
  }

  /// Probabilities, not counts: all terms are positive and nothing cancels or overflows.
  private static func count(_ first: Int, _ second: Int) -> [Double] {
    // The distributions for i of the first set and 0, 1, ... of the second.
    var row = Array(repeating: [1.0], count: second + 1)
    for i in 1...first {
      for j in 1...second {
        var next = Array(repeating: 0.0, count: i * j + 1)
        let share = Double(i) / Double(i + j)
        for (u, probability) in row[j].enumerated() { next[u] += share * probability }
        for (u, probability) in row[j - 1].enumerated() { next[u + i] += (1 - share) * probability }
        row[j] = next
      }
    }
    var sum = 0.0
    return row[second].map { probability in
      sum += probability
      return min(sum, 1)
    }
  }
}
