import Choosing
import Measuring
import RealModule
import Records
import Statistics
import Units

/// The logarithmic scale of a map, from one power of ten to another.
///
/// Logarithmic, because weights of one head differ by orders of magnitude, and what a strategy
/// drops is among the small ones.
struct AttentionScale: Equatable {
  /// What is at most this looks the same: a tenth or less of what uniform attention would give.
  let low: Double
  /// At least the largest value.
  let high: Double

  /// The scale that maps of one grid share.
  init(_ maps: [AttentionMap]) {
    let largest = maps.flatMap(\.panels).flatMap(\.values).filter { !$0.isNaN }.max() ?? 1
    let uniform = 1 / Double(maps.first?.columnCount ?? 1)
    let top = Double.log10(max(Double(largest), uniform)).rounded(.up)
    let bottom = Double.log10(uniform).rounded(.down) - 1
    high = Double.pow(10, min(top, 0))
    low = Double.pow(10, min(bottom, min(top, 0) - 2))
  }

  /// Where a value lies between the two ends, 0 to 1.
  func place(_ value: Double) -> Double {
    guard value > low else { return 0 }
    return min(1, Double.log(value / low) / Double.log(high / low))
  }

  func value(at place: Double) -> Double { low * Double.pow(high / low, place) }

  /// The powers of ten from one end to the other.
  var decades: [Double] {
    let (first, last) = (Int(Double.log10(low).rounded()), Int(Double.log10(high).rounded()))
    return (first...last).map { Double.pow(10, Double($0)) }
  }

  /// A share as `0.01%`, `12%`.
  static func percent(_ share: Double) -> String {
    let percent = 100 * share
    let text = String(format: "%.2g", percent)
    // Two digits, never in the form 1e+02.
    return (text.contains("e+") ? String(format: "%.0f", percent) : text) + "%"
  }
}
