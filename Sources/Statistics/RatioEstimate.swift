/// How many times larger one set of positive samples is than another, with an interval.
///
/// If the second set is distributed like the first times a factor, its logarithms are shifted, and
/// the shift is estimated after Hodges and Lehmann, "Estimates of location based on rank tests",
/// Annals of Mathematical Statistics 34(2), 1963: the median of all differences between one
/// logarithm of either set, here the median of all ratios b / a. The interval inverts the
/// Mann-Whitney test: its ends are the k-th smallest and the k-th largest ratio (Hollander, Wolfe
/// and Chicken, "Nonparametric Statistical Methods", 3rd ed., Wiley 2014, section 4.3). Nothing is
/// assumed about the distribution but that both have the same shape, and no single outlier moves
/// any of it far. Samples must be independent, or be counted as fewer; what lasts through all samples of
/// one set looks like a difference.
///
/// Exchanging the two sets inverts the ratio and exchanges and inverts the ends of the interval.
public struct RatioEstimate: Equatable, Sendable {
  /// The estimate of b / a.
  public let ratio: Double
  /// The interval; nil when the samples are too few for the confidence.
  public let interval: ClosedRange<Double>?
  /// The probability of samples that speak as strongly as these for b larger, were there no
  /// difference. Ties count against it.
  public let chanceOfLarger: Double
  /// The same for b smaller.
  public let chanceOfSmaller: Double

  /// Compares `second` with `first`; nil when either is empty or has a sample that is not positive
  /// and finite, or when the two are so far apart that their ratio is not.
  ///
  /// - Parameter distribution: for as many independent samples as either set is worth; nil when all
  ///   of them are.
  public init?(
    _ second: [Double], over first: [Double], confidence: Double = 0.95,
    distribution: RankSumDistribution? = nil
  ) {
    guard !first.isEmpty, !second.isEmpty,
      first.allSatisfy({ $0 > 0 && $0.isFinite }), second.allSatisfy({ $0 > 0 && $0.isFinite })
    else { return nil }
    let ratios = PairwiseRatios(second.sorted(), over: first.sorted())
    let distribution =
      distribution ?? RankSumDistribution(first: first.count, second: second.count)
    let count = ratios.count
    // The middle one, or on the logarithmic scale the mean of the two middle ones.
    let (low, high) = (ratios.ranked((count + 1) / 2), ratios.ranked(count / 2 + 1))
    ratio = low == high ? low : low.squareRoot() * high.squareRoot()
    guard ratio > 0, ratio.isFinite else { return nil }
    // Pairs of all samples for one pair of independent ones.
    let share = max(1, Double(count) / distribution.pairs)
    let rank = min(
      Int((share * Double(distribution.rank(tail: (1 - confidence) / 2))).rounded(.up)),
      (count + 1) / 2)
    interval = rank == 0 ? nil : ratios.ranked(rank)...ratios.ranked(count + 1 - rank)
    func tail(_ pairs: Int) -> Double { distribution.tail(upTo: Int(Double(pairs) / share)) }
    chanceOfLarger = tail(ratios.count(upTo: 1))
    chanceOfSmaller = tail(count - ratios.count(upTo: 1.0.nextDown))
  }
}

/// All ratios b / a of two sets, in order, without making them: a million samples of either set
/// would be a million millions.
private struct PairwiseRatios {
  private let numerators: [Double]
  private let denominators: [Double]
  let count: Int

  /// - Precondition: both rise and are positive, and the number of pairs fits an `Int`.
  init(_ numerators: [Double], over denominators: [Double]) {
    self.numerators = numerators
    self.denominators = denominators
    count = numerators.count * denominators.count
  }

  /// How many ratios are at most `limit`.
  func count(upTo limit: Double) -> Int {
    // The larger b is, the fewer a are large enough: one walk over both.
    var total = 0
    var tooSmall = 0
    for numerator in numerators {
      while tooSmall < denominators.count, numerator / denominators[tooSmall] > limit {
        tooSmall += 1
      }
      total += denominators.count - tooSmall
    }
    return total
  }

  /// The ratio of a rank, counted from 1: found by halving, since positive numbers are ordered as
  /// their bits are.
  func ranked(_ rank: Int) -> Double {
    var below = UInt64(0)
    var reached = Double.infinity.bitPattern
    while reached - below > 1 {
      let middle = below + (reached - below) / 2
      if count(upTo: Double(bitPattern: middle)) >= rank {
        reached = middle
      } else {
        below = middle
      }
    }
    return Double(bitPattern: reached)
  }
}
