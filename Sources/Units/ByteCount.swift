import Attention

/// A number of bytes: `4GiB`, `500MB`, `64B`.
public struct ByteCount: Equatable, Comparable, Hashable, Sendable, CustomStringConvertible {
  /// The bytes; never negative.
  public let bytes: Int

  /// Wraps a count that a measurement or an estimate produced.
  ///
  /// - Precondition: `bytes >= 0`.
  public init(_ bytes: Int) {
    precondition(bytes >= 0, "a byte count is never negative")
    self.bytes = bytes
  }

  /// Decimal and binary units, the largest first so that printing finds the shortest text.
  private static let units: [(name: String, bytes: Int)] = [
    ("TiB", 1 << 40), ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30), ("GB", 1_000_000_000),
    ("MiB", 1 << 20), ("MB", 1_000_000),
    ("KiB", 1 << 10), ("kB", 1000), ("B", 1),
  ]

  /// Reads `4GiB` (2^30), `500MB` (10^6), `1.5GiB`, `64B`.
  ///
  /// - Throws: `PlanError` that names `argument` when the number or the unit is missing or
  ///   unknown, or the count is zero or does not fit an `Int`.
  public init(parsing text: String, argument: String) throws(PlanError) {
    func failure(_ rule: String, _ fix: String) -> PlanError {
      PlanError(argument: argument, value: text, rule: rule, fix: fix)
    }
    let (digits, unitName) = DecimalText.split(Substring(text))
    guard DecimalText.isNumber(digits) else {
      let meant = DecimalText.completing(digits).map { "write \($0)\(unitName)" }
      throw failure(
        "this is no amount of memory", meant ?? "write for example 4GiB, 500MB or 1.5GiB")
    }
    let spelled = unitName == "KB" ? "kB" : String(unitName)
    guard let unit = Self.units.first(where: { $0.name == spelled }) else {
      let rule = unitName.isEmpty ? "the unit is missing" : "unknown unit '\(unitName)'"
      throw failure(rule, "use B, kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB")
    }
    guard let bytes = DecimalText(digits)?.rounded(times: unit.bytes) else {
      throw failure("this is too much", "the limit is \(Int.max)B")
    }
    guard bytes >= 1 else { throw failure("at least 1 byte is needed", "write for example 4GiB") }
    self.bytes = bytes
  }

  /// The shortest exact text, which parses back to the same count: `4GiB`, `500MB`, `1025B`.
  public var description: String {
    for unit in Self.units where bytes >= unit.bytes && bytes.isMultiple(of: unit.bytes) {
      return "\(bytes / unit.bytes)\(unit.name)"
    }
    return "\(bytes)B"
  }

  /// Three significant digits in binary units for people: `3.73 GiB`, `512 B`.
  public var rounded: String {
    for unit in Self.units where unit.name.hasSuffix("iB") && bytes >= unit.bytes {
      return "\(SignificantDigits.three(Double(bytes) / Double(unit.bytes))) \(unit.name)"
    }
    return "\(bytes) B"
  }

  /// Orders by size.
  public static func < (left: ByteCount, right: ByteCount) -> Bool { left.bytes < right.bytes }
}
