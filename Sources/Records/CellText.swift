import Attention
import Foundation
import Statistics
import Units

/// The figures of a row as people read them; empty where there is none.
package enum CellText {
  /// The median: `2.61 ms`.
  package static func time(_ row: ResultRow) -> String {
    row.time.median.map { TimeSpan.rounded(seconds: $0) } ?? ""
  }

  /// How far the median's interval reaches, relative to it: `1.2%`.
  package static func interval(_ row: ResultRow) -> String {
    guard let median = row.time.median, let lower = row.time.intervalLower,
      let upper = row.time.intervalUpper, median > 0
    else { return "" }
    return percent(max(upper - median, median - lower) / median)
  }

  /// A share as `1.2%`.
  package static func percent(_ share: Double) -> String { String(format: "%.1f%%", 100 * share) }

  /// A figure without a unit, to one decimal.
  package static func decimal(_ value: Double?) -> String {
    value.map { String(format: "%.1f", $0) } ?? ""
  }

  /// An error: `3.1e-07`.
  package static func error(_ value: Double?) -> String {
    value.map { String(format: "%.1e", $0) } ?? ""
  }

  /// Bytes as `3.73 GiB`.
  package static func bytes(_ count: Int?) -> String {
    count.map { ByteCount(max(0, $0)).rounded } ?? ""
  }

  /// A stretch of time to plan by: `3m20s`, `45s`.
  package static func minutes(_ seconds: Double) -> String {
    let whole = Int(max(0, min(seconds, 1e9)).rounded())
    return whole < 60 ? "\(whole)s" : "\(whole / 60)m\(String(format: "%02d", whole % 60))s"
  }
}
