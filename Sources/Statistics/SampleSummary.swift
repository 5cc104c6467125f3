/// What a cell reports about its samples: order statistics only, which outliers cannot move far.
public struct SampleSummary: Equatable, Sendable {
  /// How many samples.
  public let count: Int
  /// The smallest sample.
  public let minimum: Double
  /// The largest sample.
  public let maximum: Double
  /// The lower quartile, type 7.
  public let lowerQuartile: Double
  public let median: Double
  /// The upper quartile, type 7.
  public let upperQuartile: Double
  /// The 95% confidence interval of the median.
  public let interval: MedianInterval

  /// Summarises `samples`; nil when there are none or one is not finite.
  public init?(_ samples: [Double]) {
    guard let first = samples.first, samples.allSatisfy(\.isFinite) else { return nil }
    let sorted = samples.sorted()
    count = sorted.count
    minimum = sorted.first ?? first
    maximum = sorted.last ?? first
    lowerQuartile = Self.quantile(0.25, sorted: sorted)
    median = Self.quantile(0.5, sorted: sorted)
    upperQuartile = Self.quantile(0.75, sorted: sorted)
    interval = MedianInterval(sorted: sorted)
  }

  /// How far the interval reaches from the median on its wider side, as a share of the median.
  ///
  /// Infinite when the median is 0, and no promise at all while `interval.coverage` is below 0.95.
  public var relativeHalfWidth: Double {
    let reach = max(interval.upper - median, median - interval.lower)
    return median > 0 ? reach / median : .infinity
  }

  /// The type 7 quantile of Hyndman and Fan, "Sample quantiles in statistical packages", The
  /// American Statistician 50(4), 1996: linear between samples at h = (n - 1) p. It is what R,
  /// NumPy and Excel's PERCENTILE.INC give by default, so that others find the same numbers.
  ///
  /// - Precondition: `sorted` is not empty and rises; `p` is from 0 to 1.
  public static func quantile(_ p: Double, sorted: [Double]) -> Double {
    precondition(!sorted.isEmpty && (0...1).contains(p), "a quantile needs samples and a share")
    let position = Double(sorted.count - 1) * p
    let lower = Int(position.rounded(.down))
    let upper = min(lower + 1, sorted.count - 1)
    return sorted[lower] + (position - Double(lower)) * (sorted[upper] - sorted[lower])
  }

  /// The range between the two quantiles that leave the same share outside on either side, as a
  /// percentile bootstrap reads it off its replicates; nil without values.
  package static func centralRange(
    _ values: [Double], confidence: Double = 0.95
  ) -> ClosedRange<Double>? {
    guard !values.isEmpty else { return nil }
    let sorted = values.sorted()
    let tail = (1 - confidence) / 2
    let lower = quantile(tail, sorted: sorted)
    return lower...max(lower, quantile(1 - tail, sorted: sorted))
  }
}
