import Attention
import Foundation
import RealModule
import Records
import Statistics
import Units

/// A predicted time of one run, and what the prediction rests on.
public struct TimePrediction: Equatable, Sendable {
  /// Where a prediction comes from.
  public enum Basis: Equatable, Sendable, CustomStringConvertible {
    /// The last measured size and the exponent between the last two.
    case slope(seconds: Double, n: Int, exponent: Double)
    /// The only measured size, by the ratio of the flops.
    case flops(seconds: Double, n: Int)
    /// The machine's peak in flop/s and the share of it that is assumed; 1 gives a lower bound.
    case peak(share: Double, flopRate: Double, arithmetic: Arithmetic)
    /// The machine's read bandwidth in bytes/s and the share of it that is assumed.
    case reading(share: Double, byteRate: Double)

    /// `from 32.0 s at 28000, slope 2.01`.
    public var description: String {
      switch self {
      case .slope(let seconds, let n, let exponent):
        return "from \(TimeSpan.rounded(seconds: seconds)) at \(n), slope "
          + String(format: "%.2f", exponent)
      case .flops(let seconds, let n):
        return "from \(TimeSpan.rounded(seconds: seconds)) at \(n), by the ratio of flops"
      case .peak(let share, let rate, let arithmetic):
        let peak =
          "\(arithmetic == .float32 ? "FMA" : arithmetic.rawValue) peak of \(SignificantDigits.three(rate / 1e9)) GFLOP/s"
        return share == 1
          ? "at least, by the \(peak)"
          : "assuming \(Int((share * 100).rounded()))% of the \(peak)"
      case .reading(let share, let rate):
        return "assuming \(Int((share * 100).rounded()))% of the read bandwidth of "
          + "\(SignificantDigits.three(rate / 1e9)) GB/s"
      }
    }
  }

  /// Seconds of one run.
  public let seconds: Double
  /// What they rest on.
  public let basis: Basis

  /// States a prediction.
  public init(seconds: Double, basis: Basis) {
    self.seconds = seconds
    self.basis = basis
  }
}

/// Predicts the time of cells that were not run from those that were.
///
/// A curve's next size follows from the exponent between its last two measured sizes, because an
/// exponent over all sizes would drag the overhead of the small ones along.
public struct SweepForecast: Sendable {
  private struct Point {
    let n: Int
    let seconds: Double
    let flops: Int
  }

  /// The share of the FMA peak assumed of a strategy nothing is known of.
  public static let assumedShare = 0.35
  /// The share of the read bandwidth assumed of it: what decoding reached at least where
  /// it was measured, on two threads.
  public static let assumedReadShare = 0.8
  /// Two sizes closer than this give noise for an exponent.
  private static let leastRatio = 1.25

  private var curves: [Int: [Point]] = [:]
  private var flopRates: [Arithmetic: [Int: Double]] = [:]
  private var byteRates: [Int: Double] = [:]

  /// Nothing measured yet.
  public init() {}

  /// Learns the peak of an arithmetic with a thread count, in flop/s.
  public mutating func learn(
    flopRate: Double, threads: Int, arithmetic: Arithmetic = .float32
  ) {
    flopRates[arithmetic, default: [:]][threads] = flopRate
  }

  /// Learns the rate at which a thread count reads memory, in bytes/s.
  public mutating func learn(byteRate: Double, threads: Int) { byteRates[threads] = byteRate }

  /// Learns the median time of a measured cell.
  public mutating func learn(_ cell: SweepCell, seconds: Double) {
    guard seconds > 0, case .success(let work) = cell.work else { return }
    var points = curves[cell.curve, default: []].filter { $0.n != cell.n }
    points.append(Point(n: cell.n, seconds: seconds, flops: work.flops))
    curves[cell.curve] = points.sorted { $0.n < $1.n }
  }

  /// The time of one run of a cell from measured sizes of its curve below it; nil without any.
  public func extrapolation(to cell: SweepCell) -> TimePrediction? {
    let points = curves[cell.curve, default: []].filter { $0.n < cell.n }
    guard let last = points.last else { return nil }
    let earlier = points.last { Double(last.n) / Double($0.n) >= Self.leastRatio }
    if let earlier {
      let exponent =
        Double.log(last.seconds / earlier.seconds)
        / Double.log(Double(last.n) / Double(earlier.n))
      return TimePrediction(
        seconds: last.seconds * Double.pow(Double(cell.n) / Double(last.n), exponent),
        basis: .slope(seconds: last.seconds, n: last.n, exponent: exponent))
    }
    guard case .success(let work) = cell.work, last.flops > 0 else { return nil }
    return TimePrediction(
      seconds: last.seconds * Double(work.flops) / Double(last.flops),
      basis: .flops(seconds: last.seconds, n: last.n))
  }

  /// The time one run takes at least, at the machine's peak; nil while that is unknown. Reading
  /// bounds nothing for certain: the data may lie in the caches.
  public func lowerBound(of cell: SweepCell) -> TimePrediction? { atPeak(cell, share: 1) }

  /// The best guess: from measured sizes, or the longer of the times that the operations take at
  /// the assumed share of the peak and the bytes at that of the read bandwidth.
  public func estimate(of cell: SweepCell) -> TimePrediction? {
    if let measured = extrapolation(to: cell) { return measured }
    return [atPeak(cell, share: Self.assumedShare), reading(cell, share: Self.assumedReadShare)]
      .compactMap { $0 }.max { $0.seconds < $1.seconds }
  }

  /// Whether reading a cell's bytes takes longer than its operations do, at the machine's rates.
  public func isBoundByMemory(_ cell: SweepCell) -> Bool {
    guard let reading = reading(cell, share: 1), let arithmetic = atPeak(cell, share: 1) else {
      return false
    }
    return reading.seconds > arithmetic.seconds
  }

  private func atPeak(_ cell: SweepCell, share: Double) -> TimePrediction? {
    let arithmetic = cell.runner.arithmetic
    guard case .success(let work) = cell.work,
      let rate = flopRates[arithmetic]?[cell.placement.threads], rate > 0
    else { return nil }
    return TimePrediction(
      seconds: Double(work.flops) / (share * rate),
      basis: .peak(share: share, flopRate: rate, arithmetic: arithmetic))
  }

  private func reading(_ cell: SweepCell, share: Double) -> TimePrediction? {
    guard case .success(let work) = cell.work, let rate = byteRates[cell.placement.threads],
      rate > 0
    else { return nil }
    return TimePrediction(
      seconds: Double(work.minimumBytes) / (share * rate),
      basis: .reading(share: share, byteRate: rate))
  }
}
