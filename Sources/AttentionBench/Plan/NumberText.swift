/// The digits that every unit of the command line shares.
///
/// `Double.init(_: String)` is too generous for options: it takes `nan`, `inf`, `0x1p3` and `1e9`.
enum NumberText {
  /// Splits `text` into its leading number and the unit that follows it.
  static func split(_ text: String) -> (digits: Substring, unit: Substring) {
    let digits = text.prefix { isDigit($0) || $0 == "_" || $0 == "." }
    return (digits, text[digits.endIndex...])
  }

  /// A plain decimal number, `1_000` or `2.5`; nil for anything else.
  static func decimal(_ digits: Substring) -> Double? {
    let parts = digits.split(separator: ".", omittingEmptySubsequences: false)
    guard let whole = parts.first, parts.count <= 2, isGrouped(whole) else { return nil }
    if let fraction = parts.dropFirst().first, fraction.isEmpty || !fraction.allSatisfy(isDigit) {
      return nil
    }
    return Double(digits.filter { $0 != "_" })
  }

  /// Whether `digits` is one or more ASCII digits with `_` only between two of them.
  static func isGrouped(_ digits: Substring) -> Bool {
    digits.split(separator: "_", omittingEmptySubsequences: false)
      .allSatisfy { !$0.isEmpty && $0.allSatisfy(isDigit) }
  }

  private static func isDigit(_ character: Character) -> Bool {
    character.isASCII && character.isNumber
  }
}
