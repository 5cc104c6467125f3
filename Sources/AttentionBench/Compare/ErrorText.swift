import Foundation

/// Errors for people: `3.1e-07`.
enum ErrorText {
  static func short(_ error: Double) -> String { String(format: "%.1e", error) }
}
