import RealModule

/// The power law t = c n^e that fits measured times best on a log-log plot.
///
/// Least squares of log t on log n weighs every size alike in relative terms. Least squares on t
/// itself would let the largest n decide alone. The exponent describes the sizes it was fitted to
/// and is no statement about a complexity class.
public struct PowerLawFit: Equatable, Sendable {
  /// The exponent e.
  public let exponent: Double
  /// The factor c, in seconds when times are in seconds.
  public let factor: Double

  private let logSizes: [Double]
  private let residuals: [Double]

  /// Fits the points (n, t); nil unless two different sizes have positive finite values.
  public init?(_ points: [(n: Double, t: Double)]) {
    let usable = points.filter { $0.n > 0 && $0.t > 0 && $0.n.isFinite && $0.t.isFinite }
    let x = usable.map { Double.log($0.n) }
    let y = usable.map { Double.log($0.t) }
    guard let line = Self.line(x, y) else { return nil }
    exponent = line.slope
    factor = Double.exp(line.intercept)
    logSizes = x
    residuals = zip(x, y).map { $1 - (line.intercept + line.slope * $0) }
  }

  /// The time the law gives for size `n`.
  public func value(at n: Double) -> Double { factor * Double.pow(n, exponent) }

  /// A percentile bootstrap interval of the exponent; nil for fewer than 3 points, where the line
  /// has no residuals to learn from.
  ///
  /// The sizes were chosen, not drawn, so residuals are resampled and the sizes stay (Efron and
  /// Tibshirani, "An Introduction to the Bootstrap", 1993, section 9.4), stretched by
  /// sqrt(N / (N - 2)) because the fit has already taken two degrees of freedom out of them.
  public func exponentInterval(
    confidence: Double = 0.95, resamples: Int = 2000, seed: UInt64 = 1
  ) -> ClosedRange<Double>? {
    let count = residuals.count
    guard count >= 3, resamples >= 1, (0..<1).contains(confidence) else { return nil }
    let stretch = (Double(count) / Double(count - 2)).squareRoot()
    var generator = SeededGenerator(seed: seed)
    var slopes: [Double] = []
    slopes.reserveCapacity(resamples)
    for _ in 0..<resamples {
      let noise = (0..<count).map { _ in
        stretch * residuals[Int.random(in: 0..<count, using: &generator)]
      }
      guard let line = Self.line(logSizes, noise) else { return nil }
      slopes.append(exponent + line.slope)
    }
    slopes.sort()
    let tail = (1 - confidence) / 2
    let lower = SampleSummary.quantile(tail, sorted: slopes)
    return lower...max(lower, SampleSummary.quantile(1 - tail, sorted: slopes))
  }

  /// The exponent between each two neighbouring sizes, in rising order of n: it shows where a
  /// curve bends, which one exponent for all sizes hides. Points that are not positive are left out.
  public static func localExponents(
    _ points: [(n: Double, t: Double)]
  ) -> [(from: Double, to: Double, exponent: Double)] {
    let rising = points.filter { $0.n > 0 && $0.t > 0 }.sorted { $0.n < $1.n }
    return zip(rising, rising.dropFirst()).compactMap { left, right in
      guard right.n > left.n else { return nil }
      return (left.n, right.n, Double.log(right.t / left.t) / Double.log(right.n / left.n))
    }
  }

  private static func line(_ x: [Double], _ y: [Double]) -> (slope: Double, intercept: Double)? {
    guard x.count >= 2 else { return nil }
    let count = Double(x.count)
    let meanX = x.reduce(0, +) / count
    let meanY = y.reduce(0, +) / count
    var spread = 0.0
    var product = 0.0
    for (xi, yi) in zip(x, y) {
      spread += (xi - meanX) * (xi - meanX)
      product += (xi - meanX) * (yi - meanY)
    }
    guard spread > 0 else { return nil }
    let slope = product / spread
    return (slope, meanY - slope * meanX)
  }
}
