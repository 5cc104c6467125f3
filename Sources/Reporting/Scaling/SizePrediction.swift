import Choosing
import Measuring
import RealModule
import Records
import Statistics
import Units

/// The time of one run at a size, predicted from the measured smaller sizes of its curve.
///
/// The counted work of the size is known exactly; what is not known is the speed there. So the speed
/// of the largest smaller size is carried over: t(n) = t(m) w(n) / w(m). A line through log t
/// would carry the overhead of small sizes along, and the slope between the last two sizes doubles
/// their noise and trips over parameters that follow n in steps, such as strided's l.
///
/// The interval takes the logarithm of the speed for a random walk in log n, whose step is
/// estimated from the same prediction made between the sizes that were measured: with k errors e
/// over distances L in log n, s^2 = mean(e^2 / L), and the prediction is off by at most
/// t(0.975, k) s sqrt(L) in 95% of cases (Hyndman and Athanasopoulos, "Forecasting: Principles and
/// Practice", 3rd edition 2021, section 5.5, the naive method; Student's t because s comes from few
/// errors). One earlier size gives no error to learn from, and no interval.
public struct SizePrediction: Equatable, Sendable {
  public let label: CurveLabel
  public let n: Int
  /// How the cell of this size ended: `skippedTime` and `skippedMemory` were never measured; the
  /// others were, and the prediction was made without them to check it.
  public let status: Status
  /// The largest size that the prediction rests on.
  public let from: Int
  /// How many earlier predictions the interval learns from.
  public let errors: Int
  /// The predicted seconds.
  public let seconds: Double
  /// Where the time should lie in 95% of cases; nil where no earlier error is known.
  public let interval: ClosedRange<Double>?
  /// The measured median; nil for a size that was skipped.
  public let measured: Double?

  /// By how much the prediction is above what was measured, as a share of the latter; nil for a
  /// size that was skipped.
  public var error: Double? { measured.map { seconds / $0 - 1 } }

  /// The held-out check of a curve, which predicts its largest measured size from the smaller ones,
  /// then its skipped sizes, rising.
  static func predictions(for curve: ScalingCurve) -> [SizePrediction] {
    let heldOut = curve.cells.last.flatMap { last in
      SizePrediction(
        curve, n: last.n, flops: last.flops, status: last.status, measured: last.seconds)
    }
    let skipped = curve.skipped.compactMap { cell in
      SizePrediction(curve, n: cell.n, flops: cell.flops, status: cell.status, measured: nil)
    }
    return [heldOut].compactMap { $0 } + skipped
  }

  /// Predicts a size from the measured sizes below it; nil where none has its work counted.
  private init?(
    _ curve: ScalingCurve, n: Int, flops: Int?, status: Status, measured: Double?
  ) {
    let known = curve.cells.filter { $0.n < n }.compactMap(Point.init)
    guard let last = known.last, let flops, flops > 0 else { return nil }
    label = curve.label
    self.n = n
    self.status = status
    self.measured = measured
    from = last.n
    seconds = last.seconds * (Double(flops) / last.flops)
    errors = known.count - 1
    let steps = zip(known, known.dropFirst()).map { left, right in
      let error = Double.log(right.seconds / left.seconds) - Double.log(right.flops / left.flops)
      return error * error / Self.distance(left.n, right.n)
    }
    interval =
      steps.isEmpty
      ? nil
      : Self.interval(
        around: seconds, variance: steps.reduce(0, +) / Double(steps.count), errors: steps.count,
        distance: Self.distance(last.n, n))
  }

  private static func interval(
    around seconds: Double, variance: Double, errors: Int, distance: Double
  ) -> ClosedRange<Double> {
    let reach = Double.exp(StudentT.bound(degrees: errors) * (variance * distance).squareRoot())
    return seconds / reach...seconds * reach
  }

  private static func distance(_ from: Int, _ to: Int) -> Double {
    Double.log(Double(to) / Double(from))
  }

  /// A measured size whose work is counted.
  private struct Point {
    let n: Int
    let seconds: Double
    let flops: Double

    init?(_ cell: ScalingCurve.Cell) {
      guard let flops = cell.flops, flops > 0 else { return nil }
      n = cell.n
      seconds = cell.seconds
      self.flops = Double(flops)
    }
  }
}
