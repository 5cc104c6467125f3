import Choosing
import Measuring
import Records
import Statistics
import Units

/// What two runs are compared by, and how large a difference must be to count.
public struct ComparisonRules: Equatable, Sendable {
  /// What the ratio of a cell is made of.
  public enum Metric: String, CaseIterable, Sendable {
    /// Wall time: what a user waits for. A clock that was lower in one of the runs shows as a
    /// difference.
    case time
    /// Wall time counted in operations that the machine could have done meanwhile, by the FMA peak
    /// that the same run measured beside the cell. A clock that was lower throughout one run
    /// cancels, for cells that are bound by arithmetic; what the peak's own measurement is off by
    /// enters instead.
    case percentOfPeak = "pct_of_peak"
  }

  /// What is compared.
  public var metric = Metric.time
  /// The smallest relative difference that is called FASTER or SLOWER, above 0: B takes at least
  /// 1 + this times as long as A, or A at least that times as long as B.
  ///
  /// Two runs of one build on one machine differ by a percent or two, beyond chance: caches, page
  /// placement and clocks do not fall alike twice, and samples of one run share them. Significance
  /// alone would call that a regression.
  public var minimumEffect = 0.05

  /// The confidence of the intervals, and how sure a call is: of the cells called SLOWER a share
  /// of at most (1 - confidence) / 2 is expected to be chance, and of those called FASTER as many.
  public static let confidence = 0.95
  /// An error in B below this is rounding. fp32 rounds to 6e-8; flash attention over 100 000 keys
  /// is off by 8e-7.
  public static let roundingError = 2e-6
  /// How many times larger than in A an error above `roundingError` must be to be WRONG: room for
  /// other inputs and for sums taken in another order.
  public static let errorFactor = 4.0

  public init() {}

  /// The ratios that are neither FASTER nor SLOWER: alike on both sides in logarithms, so that
  /// exchanging A and B exchanges the two words.
  var sameRange: ClosedRange<Double> { 1 / (1 + minimumEffect)...1 + minimumEffect }

  /// What chance may make of each direction, as a share.
  static var tail: Double { (1 - confidence) / 2 }

  /// Whether B's error against the strategy's own definition says that B is wrong and A was not.
  static func isWorse(_ b: Double?, than a: Double?) -> Bool {
    guard let a, let b, a.isFinite else { return false }
    return !(b <= limit(over: a))
  }

  /// The largest error that is not wrong beside another that is right.
  static func limit(over a: Double) -> Double { max(roundingError, errorFactor * a) }
}
