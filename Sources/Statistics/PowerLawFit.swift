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

  /// The share of the variance of log t that the line explains; 1 when t does not vary at all.
  public let rSquared: Double
  /// The typical distance of a time from the line, as a share of the time: the standard error
  /// sqrt(SSR / (N - 2)) of log t. Nil for two points, which a line always meets.
  public let residualSpread: Double?

  /// Fits the points (n, t); nil unless two different sizes have positive finite values.
  public init?(_ points: [(n: Double, t: Double)]) {
    let usable = points.filter { $0.n > 0 && $0.t > 0 && $0.n.isFinite && $0.t.isFinite }
    let y = usable.map { Double.log($0.t) }
    guard let line = LogSizes(usable.map(\.n)) else { return nil }
    let slope = line.slope(y)
    exponent = slope
    let intercept = line.intercept(y)
    factor = Double.exp(intercept)
    let mean = y.reduce(0, +) / Double(y.count)
    let total = y.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    let left = zip(line.logs, y).reduce(0) { sum, point in
      let residual = point.1 - (intercept + slope * point.0)
      return sum + residual * residual
    }
    rSquared = total > 0 ? max(0, 1 - left / total) : 1
    residualSpread = y.count > 2 ? (left / Double(y.count - 2)).squareRoot() : nil
  }

  /// The time the law gives for size `n`.
  public func value(at n: Double) -> Double { factor * Double.pow(n, exponent) }
}

/// The sizes of a fit, which stay the same while times are fitted again and again.
package struct LogSizes {
  /// log n of each size.
  let logs: [Double]
  /// What each log t contributes to the slope.
  private let weights: [Double]
  private let mean: Double

  /// The sizes of a line; nil unless two of them differ.
  package init?(_ sizes: [Double]) {
    logs = sizes.map { Double.log($0) }
    mean = logs.reduce(0, +) / Double(max(1, logs.count))
    let centred = logs.map { [mean] in $0 - mean }
    let spread = centred.reduce(0) { $0 + $1 * $1 }
    guard spread > 0 else { return nil }
    weights = centred.map { $0 / spread }
  }

  /// The least-squares slope of `y`, one value a size.
  package func slope(_ y: [Double]) -> Double { zip(weights, y).reduce(0) { $0 + $1.0 * $1.1 } }

  /// The height of that line at log n = 0.
  func intercept(_ y: [Double]) -> Double {
    y.reduce(0, +) / Double(y.count) - slope(y) * mean
  }
}
