import Attention

/// A length of time on the command line and in messages: `60s`, `10m`, `250ms`, `1h`.
public struct TimeSpan: Equatable, Comparable, Hashable, Sendable, CustomStringConvertible {
  /// Whole nanoseconds, so that every option prints back as it was typed; above 0.
  public let nanoseconds: Int64

  /// The length in seconds.
  public var seconds: Double { Double(nanoseconds) / 1e9 }

  /// The length for the standard library's clocks.
  public var duration: Duration { .nanoseconds(nanoseconds) }

  private static let units: [(name: String, nanoseconds: Int64)] = [
    ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000),
    ("ms", 1_000_000), ("us", 1000), ("ns", 1),
  ]

  /// Reads `60s`, `1.5h`, `250ms`.
  ///
  /// - Throws: `PlanError` that names `argument` when the number or the unit is missing or
  ///   unknown, or the span is zero or longer than 292 years.
  public init(parsing text: String, argument: String) throws(PlanError) {
    func failure(_ rule: String, _ fix: String) -> PlanError {
      PlanError(argument: argument, value: text, rule: rule, fix: fix)
    }
    let (digits, unitName) = DecimalText.split(Substring(text))
    guard DecimalText.isNumber(digits) else {
      let meant = DecimalText.completing(digits).map { "write \($0)\(unitName)" }
      throw failure(
        "this is no length of time", meant ?? "write for example 250ms, 60s, 10m or 1h")
    }
    guard let unit = Self.units.first(where: { $0.name == unitName }) else {
      let rule = unitName.isEmpty ? "the unit is missing" : "unknown unit '\(unitName)'"
      throw failure(rule, "use ns, us, ms, s, m (minutes) or h, such as \(digits)s")
    }
    guard let span = DecimalText(digits)?.rounded(times: Int(unit.nanoseconds)) else {
      throw failure("this is too long", "the limit is \(Int64.max)ns")
    }
    guard span > 0 else { throw failure("a time is above 0", "write for example 60s") }
    nanoseconds = Int64(span)
  }

  /// The shortest exact text, which parses back to the same span: `10m`, `250ms`, `90s`.
  public var description: String {
    for unit in Self.units where nanoseconds.isMultiple(of: unit.nanoseconds) {
      return "\(nanoseconds / unit.nanoseconds)\(unit.name)"
    }
    return "\(nanoseconds)ns"
  }

  /// A measured time with three significant digits for people: `2.61 ms`, `412 s`.
  public static func rounded(seconds: Double) -> String {
    for (name, unit) in [("s", 1.0), ("ms", 1e-3), ("us", 1e-6)] where abs(seconds) >= unit {
      return "\(SignificantDigits.three(seconds / unit)) \(name)"
    }
    return "\(SignificantDigits.three(seconds / 1e-9)) ns"
  }

  /// Orders by length.
  public static func < (left: TimeSpan, right: TimeSpan) -> Bool {
    left.nanoseconds < right.nanoseconds
  }
}
