import Choosing
import Measuring
import RealModule
import Records
import Statistics
import Units

/// Where one curve of a sweep overtakes another, or that it never does.
///
/// Between measured sizes both curves are straight on a log-log plot, so the difference of their
/// logarithms is too, and its zero is the crossing. Nothing is said beyond the measured sizes.
public struct Crossover: Equatable, Sendable {
  /// What the samples say about the order of two curves.
  public enum Outcome: String, CaseIterable, Sendable {
    /// The order changes, and 95% of the bootstrap replicates agree.
    case crossing
    /// The medians cross, but the noise may have made them.
    case unclear
    /// The same one is faster at every size.
    case none
    /// Neither is faster at any size as far as the samples can tell.
    case level
  }

  /// The one that is faster: from the crossing on, or everywhere. Arbitrary where both are level.
  public let faster: CurveLabel
  /// The other one, in the same setting.
  public let slower: CurveLabel
  /// What the samples say.
  public let outcome: Outcome
  /// The size of the crossing; nil without one.
  public let n: Double?
  /// Its 95% interval; nil unless the outcome is `crossing`.
  public let interval: ClosedRange<Double>?
  /// The share of bootstrap replicates that cross the same way there; nil without a crossing or
  /// without raw samples.
  public let share: Double?
  /// The sizes at which both were measured, rising.
  public let sizes: [Int]
  /// At how many of these sizes 95% of the replicates agree on which one is faster.
  public let decided: Int

  /// `window(512) beats flash from n = 1,140 (1,020 to 1,300)`.
  public var sentence: String {
    let setting = faster.variation.isEmpty ? "" : ", \(faster.variation)"
    let (first, second) = (faster.strategy, slower.strategy)
    let text =
      switch outcome {
      case .crossing: "\(first) beats \(second) from n = \(position)"
      case .unclear: "unclear: \(first) may beat \(second) from about n = \(position)"
      case .none: "\(first) is faster than \(second) at every measured size"
      case .level: "\(first) and \(second) are level at every measured size"
      }
    return text + setting
  }

  private var position: String {
    guard let n else { return "" }
    if let interval { return RoundedSize.text(n, interval) }
    return RoundedSize.text(n)
      + (share.map { " (in \(Int((100 * $0).rounded()))% of resamples)" } ?? " (no raw samples)")
  }

  /// The crossings of every two curves in the same setting that share a measured size, pair by pair
  /// and rising in n; a pair without crossings is one entry that says so.
  static func all(_ curves: [(curve: ScalingCurve, resamples: CurveResamples?)]) -> [Crossover] {
    curves.indices.flatMap { first in
      curves.indices.dropFirst(first + 1).flatMap { second in
        of(curves[first], curves[second])
      }
    }
  }

  private static func of(
    _ first: (curve: ScalingCurve, resamples: CurveResamples?),
    _ second: (curve: ScalingCurve, resamples: CurveResamples?)
  ) -> [Crossover] {
    let labels = (first.curve.label, second.curve.label)
    guard labels.0.setting == labels.1.setting else { return [] }
    let places = first.curve.cells.indices.compactMap { left in
      second.curve.cells.firstIndex { $0.n == first.curve.cells[left].n }.map { (left, $0) }
    }
    guard !places.isEmpty else { return [] }
    let sizes = places.map { first.curve.cells[$0.0].n }
    let lead = places.map { left, right in
      Double.log(second.curve.cells[right].seconds / first.curve.cells[left].seconds)
    }
    var replicates: [[Double]] = []
    if let ours = first.resamples?.logMedians, let theirs = second.resamples?.logMedians {
      replicates = (0..<CurveResamples.count).map { replicate in
        places.map { left, right in theirs[right][replicate] - ours[left][replicate] }
      }
    }
    let search = CrossingSearch(
      logSizes: sizes.map { Double.log(Double($0)) }, lead: lead, replicates: replicates)
    return search.findings.map { finding in
      Crossover(
        faster: finding.firstLeads ? labels.0 : labels.1,
        slower: finding.firstLeads ? labels.1 : labels.0, outcome: finding.outcome,
        n: finding.logSize.map(Double.exp),
        interval: finding.interval.map { Double.exp($0.lowerBound)...Double.exp($0.upperBound) },
        share: finding.share, sizes: sizes, decided: search.decidedCount)
    }
  }
}

/// Sizes between the measured ones, with as many digits as their interval supports.
package enum RoundedSize {
  /// `1,140 (1,020 to 1,300)`.
  package static func text(_ n: Double, _ interval: ClosedRange<Double>) -> String {
    var unit = unit(n)
    while unit > 1, interval.upperBound - interval.lowerBound < 10 * unit { unit /= 10 }
    let ends = [interval.lowerBound, interval.upperBound].map { grouped($0, unit) }
    return "\(grouped(n, unit)) (\(ends[0]) to \(ends[1]))"
  }

  /// Three significant digits: `1,140`.
  static func text(_ n: Double) -> String { grouped(n, unit(n)) }

  private static func unit(_ n: Double) -> Double {
    max(1, Double.pow(10, Double.log10(n).rounded(.down) - 2).rounded())
  }

  private static func grouped(_ value: Double, _ unit: Double) -> String {
    let digits = "\(Int((value / unit).rounded() * unit))"
    var text = ""
    for (index, digit) in digits.enumerated() {
      if index > 0 && (digits.count - index).isMultiple(of: 3) { text.append(",") }
      text.append(digit)
    }
    return text
  }
}
