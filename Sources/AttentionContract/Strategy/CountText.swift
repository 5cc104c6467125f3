/// A whole number as people write it: `1500`, `1_500`, `1.5k`, `4Ki`.
///
/// The one grammar of counts and sizes, of the command line and of strategies' parameters. A fraction
/// is fine as long as the suffix makes the number whole: `1.5k` is 1500, `1.2345k` is nothing.
package enum CountText {
  /// Why a text is no count.
  package enum Fault: Error, Equatable {
    /// It does not begin with a number.
    case noNumber
    /// A point without a digit on one of its sides; the text as it is meant.
    case barePoint(String)
    /// What follows the number is no suffix.
    case unknownSuffix(String)
    /// With its suffix it still has a fraction.
    case notWhole
    /// It does not fit an `Int`.
    case tooLarge

    /// The rule that the text breaks.
    package var rule: String {
      switch self {
      case .noNumber: "this is no whole number"
      case .barePoint: "a point has digits on both sides"
      case .unknownSuffix(let suffix): "unknown suffix '\(suffix)'"
      case .notWhole: "this is not whole"
      case .tooLarge: "this is too large"
      }
    }

    /// What to write instead.
    package var fix: String {
      switch self {
      case .noNumber, .notWhole: example
      case .barePoint(let meant): "write \(meant)"
      case .unknownSuffix: "use k (1000), M (1000000), Ki (1024) or Mi (1048576)"
      case .tooLarge: "the limit is \(Int.max)"
      }
    }
  }

  /// Suffixes: `k` and `M` are decimal, `Ki` and `Mi` binary.
  private static let multipliers: [Substring: Int] = [
    "": 1, "k": 1000, "M": 1_000_000, "Ki": 1 << 10, "Mi": 1 << 20,
  ]

  /// How counts are written, for messages.
  package static let example = "write a whole number such as 1000, 1_000, 1.5k (1500) or 1Ki (1024)"

  /// Reads one count, a minus sign included.
  package static func parse(_ text: some StringProtocol) throws(Fault) -> Int {
    let isNegative = text.first == "-"
    let (digits, suffix) = DecimalText.split(Substring(text).dropFirst(isNegative ? 1 : 0))
    guard DecimalText.isNumber(digits) else {
      if let meant = DecimalText.completing(digits) {
        throw .barePoint((isNegative ? "-" : "") + meant + suffix)
      }
      throw .noNumber
    }
    guard let multiplier = multipliers[suffix] else { throw .unknownSuffix(String(suffix)) }
    guard let number = DecimalText(digits), let (whole, fraction) = number.scaled(by: multiplier),
      let count = Int(exactly: isNegative ? -whole : whole)
    else { throw .tooLarge }
    guard fraction == 0 else { throw .notWhole }
    return count
  }
}

/// A plain decimal number without a sign, exactly as it is written: `1_000`, `2.5`.
///
/// `Double.init(_: String)` is too generous for options: it takes `nan`, `inf`, `0x1p3` and `1e9`, and
/// rounds whole numbers beyond 2^53.
package struct DecimalText: Equatable {
  /// All digits as one number, and what it is to be divided by.
  private let digits: Int128
  private let divisor: Int128

  /// Reads a number; nil for anything else, and beyond 10^19.
  package init?(_ text: Substring) {
    guard Self.isNumber(text) else { return nil }
    let parts = text.split(separator: ".")
    let whole = parts[0].filter { $0 != "_" }.drop { $0 == "0" }
    var fraction = String(parts.dropFirst().first ?? "")
    // Of the digits beyond it matters only whether there are any.
    if fraction.count > 18 {
      fraction = fraction.prefix(17) + (fraction.dropFirst(17).contains { $0 != "0" } ? "1" : "")
    }
    guard whole.count < 20, let digits = Int128("0" + whole + fraction) else { return nil }
    self.digits = digits
    divisor = fraction.reduce(1) { power, _ in power * 10 }
  }

  /// The number times a unit: its whole part, and what is left, 0 to 1; nil where that is beyond 10^38.
  func scaled(by unit: Int) -> (whole: Int128, fraction: Double)? {
    let (product, overflow) = digits.multipliedReportingOverflow(by: Int128(unit))
    if overflow { return nil }
    let (whole, rest) = product.quotientAndRemainder(dividingBy: divisor)
    return (whole, Double(rest) / Double(divisor))
  }

  /// The number times a unit, rounded; nil where it does not fit.
  package func rounded(times unit: Int) -> Int? {
    scaled(by: unit).flatMap { Int(exactly: $0.whole + ($0.fraction >= 0.5 ? 1 : 0)) }
  }

  /// Splits a text into its leading number and the unit that follows it.
  package static func split(_ text: Substring) -> (digits: Substring, unit: Substring) {
    let digits = text.prefix { isDigit($0) || $0 == "_" || $0 == "." }
    return (digits, text[digits.endIndex...])
  }

  /// Whether a text is digits, with `_` only between two of them, and maybe a point and more digits.
  package static func isNumber(_ text: Substring) -> Bool {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard let whole = parts.first, parts.count <= 2 else { return false }
    let isGrouped = whole.split(separator: "_", omittingEmptySubsequences: false)
      .allSatisfy { !$0.isEmpty && $0.allSatisfy(isDigit) }
    let fraction = parts.dropFirst().first
    return isGrouped && (fraction.map { !$0.isEmpty && $0.allSatisfy(isDigit) } ?? true)
  }

  /// `0.5` of `.5`, and `5` of `5.`: what is a number but for a digit beside its point; nil for the rest.
  package static func completing(_ text: Substring) -> String? {
    let completed = text.hasPrefix(".") ? "0" + text : String(text.dropLast())
    let isBare = text.count > 1 && (text.hasPrefix(".") || text.hasSuffix("."))
    return isBare && isNumber(Substring(completed)) ? completed : nil
  }

  private static func isDigit(_ character: Character) -> Bool {
    character.isASCII && character.isNumber
  }
}
