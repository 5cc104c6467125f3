import Choosing
import Measuring
import RealModule
import Records
import Statistics
import Units

/// How a curve grows: one exponent for all sizes, and one from each size to the next.
///
/// The estimator is ordinary least squares of log t on log n through the medians. Intervals are the
/// central 95% of bootstrap replicates (`CurveResamples`): the same line through resampled medians.
public struct CurveFit: Equatable, Sendable {
  public let label: CurveLabel
  /// The measured sizes, rising.
  public let sizes: [Int]
  /// The power law through all sizes; nil for fewer than three.
  public let law: PowerLawFit?
  /// The 95% interval of its exponent; nil without a law or without raw samples.
  public let exponentInterval: ClosedRange<Double>?
  /// The exponents between neighbouring sizes, rising.
  public let slopes: [LocalSlope]

  init(_ curve: ScalingCurve, _ resamples: CurveResamples?) {
    label = curve.label
    sizes = curve.cells.map(\.n)
    law = curve.law
    let logs = curve.law.flatMap { _ in LogSizes(curve.cells.map { Double($0.n) }) }
    exponentInterval = logs.flatMap { logs in
      resamples.flatMap { SampleSummary.centralRange(Self.exponents(logs, $0.logMedians)) }
    }
    slopes = zip(curve.cells.indices, curve.cells.indices.dropFirst()).map { left, right in
      LocalSlope(
        curve.cells[left], curve.cells[right],
        resamples.map { resamples in
          zip(resamples.logMedians[left], resamples.logMedians[right]).map { $1 - $0 }
        })
    }
  }

  /// The slope of every replicate.
  private static func exponents(_ logs: LogSizes, _ logMedians: [[Double]]) -> [Double] {
    (0..<CurveResamples.count).map { replicate in logs.slope(logMedians.map { $0[replicate] }) }
  }
}

/// The exponent of a curve between two neighbouring measured sizes.
public struct LocalSlope: Equatable, Sendable {
  /// The smaller size.
  public let from: Int
  /// The larger size.
  public let to: Int
  /// log(t / t') over log(n / n').
  public let exponent: Double
  /// Its 95% interval; nil without raw samples.
  public let interval: ClosedRange<Double>?

  /// - Parameter replicates: log(t / t') of every replicate.
  fileprivate init(
    _ left: ScalingCurve.Cell, _ right: ScalingCurve.Cell, _ replicates: [Double]?
  ) {
    let run = Double.log(Double(right.n) / Double(left.n))
    from = left.n
    to = right.n
    exponent = Double.log(right.seconds / left.seconds) / run
    interval = replicates.flatMap { SampleSummary.centralRange($0.map { $0 / run }) }
  }
}
