import Attention
import Foundation

/// Numbers for people: enough digits to compare, no more than a measurement supports.
package enum SignificantDigits {
  /// Three significant digits without an exponent: `2.61`, `26.1`, `261`, `2610`.
  package static func three(_ value: Double) -> String {
    let size = abs(value)
    let decimals = size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2
    return String(format: "%.\(decimals)f", value)
  }
}
