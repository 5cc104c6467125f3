import Foundation

/// Figures for tables and messages.
enum CompactNumber {
  /// Two digits: `3.2e-05`.
  static func text(_ value: Double) -> String { String(format: "%.2g", value) }

  /// With so many decimals.
  static func decimals(_ value: Double, _ count: Int) -> String {
    String(format: "%.\(count)f", value)
  }

  /// A time in three digits: `12.3 ms`.
  static func seconds(_ seconds: Double) -> String {
    for (unit, factor) in [("s", 1.0), ("ms", 1e3)] where seconds * factor >= 1 {
      return String(format: "%.3g \(unit)", seconds * factor)
    }
    return String(format: "%.3g us", seconds * 1e6)
  }
}
