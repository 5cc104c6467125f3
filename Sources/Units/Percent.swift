import Attention

/// A share in percent, above 0 and at most 100: `2%`, `0.5%`, `80%`.
public struct Percent: Equatable, Comparable, Sendable, CustomStringConvertible {
  /// The number before the percent sign.
  public let value: Double

  /// The share as a number from 0 to 1.
  public var fraction: Double { value / 100 }

  /// Reads `2%`.
  ///
  /// - Throws: `PlanError` that names `argument` when the sign is missing or the number is not
  ///   above 0 and at most 100.
  public init(parsing text: String, argument: String) throws(PlanError) {
    let (digits, unit) = DecimalText.split(Substring(text))
    guard DecimalText.isNumber(digits), let number = Double(digits.filter { $0 != "_" }),
      unit == "%"
    else {
      throw PlanError(
        argument: argument, value: text, rule: "this is no percentage",
        fix: DecimalText.completing(digits).map { "write \($0)%" }
          ?? "write a number and a percent sign, such as 2%")
    }
    guard number > 0, number <= 100 else {
      throw PlanError(
        argument: argument, value: text, rule: "a percentage is above 0 and at most 100",
        fix: "write for example 2%")
    }
    value = number
  }

  /// The text that parses back to the same value: `2%`, `0.5%`.
  public var description: String {
    value == value.rounded() ? "\(Int(value))%" : "\(value)%"
  }

  /// Orders by size.
  public static func < (left: Percent, right: Percent) -> Bool { left.value < right.value }
}
