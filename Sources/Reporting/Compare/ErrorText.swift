import Choosing
import Foundation
import Measuring
import Records
import Statistics
import Units

/// Errors for people: `3.1e-07`.
enum ErrorText {
  static func short(_ error: Double) -> String { String(format: "%.1e", error) }
}
