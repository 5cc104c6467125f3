import RealModule

/// A confidence interval for the median that assumes nothing about the distribution.
///
/// For independent samples from any continuous distribution, the number of samples below the true
/// median is binomial with p = 1/2. The interval between the j-th smallest and the j-th largest of
/// n samples therefore holds the median with probability
///
///     1 - 2 P(B <= j - 1),  B ~ Binomial(n, 1/2)
///
/// and the largest j that keeps this at the wanted level gives the tightest symmetric interval.
/// Timings are skewed and have outliers, where an interval built on the mean would be wrong.
///
/// Sources: Le Boudec, "Performance Evaluation of Computer and Communication Systems", EPFL Press
/// 2010, section 2.2; Hahn and Meeker, "Statistical Intervals", Wiley 1991, section 5.2. (Le Boudec's
/// table also lists asymmetric intervals, which are one rank tighter for a few n.)
public struct MedianInterval: Equatable, Sendable {
  /// The lower end: a sample.
  public let lower: Double
  /// The upper end: a sample.
  public let upper: Double
  /// The true probability that the interval holds the median: at least the wanted level from 6
  /// samples on for 95%, and 1 - 2^(1 - n) below that, where [min, max] is all there is (5
  /// samples: 93.75%; 2 samples: 50%; 1 sample: 0).
  public let coverage: Double

  /// The interval of already sorted samples.
  ///
  /// - Precondition: `sorted` is not empty and rises.
  public init(sorted: [Double], confidence: Double = 0.95) {
    precondition(!sorted.isEmpty, "an interval needs a sample")
    let (rank, coverage) = Self.rank(count: sorted.count, confidence: confidence)
    lower = sorted[rank - 1]
    upper = sorted[sorted.count - rank]
    self.coverage = coverage
  }

  /// The rank j of the lower end, counted from 1, and the coverage of the pair (j, n + 1 - j).
  ///
  /// When even j = 1 covers less than `confidence`, j is 1.
  ///
  /// - Precondition: `count >= 1`.
  public static func rank(count: Int, confidence: Double = 0.95) -> (rank: Int, coverage: Double) {
    // Sums P(B <= j - 1) upwards from its smallest term; logarithms because 2^-n underflows.
    let logHalfToN = -Double(count) * Double.log(2)
    var logBinomial = 0.0
    var below = Double.exp(logHalfToN)
    var best = (rank: 1, coverage: max(0, 1 - 2 * below))
    var next = 2
    while next <= (count + 1) / 2 {
      logBinomial += Double.log(Double(count - next + 2)) - Double.log(Double(next - 1))
      below += Double.exp(logBinomial + logHalfToN)
      let coverage = 1 - 2 * below
      guard coverage >= confidence else { break }
      best = (next, coverage)
      next += 1
    }
    return best
  }
}
