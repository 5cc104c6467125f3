/// One sequence length as the command line writes it and as tables and axes print it.
public enum SizeText {
  /// Suffixes: `k` and `M` are decimal, `Ki` and `Mi` binary.
  private static let multipliers: [Substring: Int] = [
    "": 1, "k": 1000, "M": 1_000_000, "Ki": 1024, "Mi": 1_048_576,
  ]

  /// Reads one size: ASCII digits with optional `_` between them and an optional suffix.
  ///
  /// - Throws: `PlanError` that names `argument` and the text when it is no whole number, has an
  ///   unknown suffix, is zero or negative, or does not fit an `Int`.
  public static func parse(_ text: String, argument: String) throws(PlanError) -> Int {
    func failure(_ rule: String, _ fix: String) -> PlanError {
      PlanError(argument: argument, value: text, rule: rule, fix: fix)
    }
    let example = "write a whole number such as 1000, 1_000, 1k or 1Ki"
    guard !text.isEmpty else { throw failure("the size is empty", example) }
    guard text.first != "-" else { throw failure("a size is at least 1", example) }

    let (digits, suffix) = NumberText.split(text)
    guard NumberText.isGrouped(digits) else { throw failure("this is no whole number", example) }
    guard let multiplier = multipliers[suffix] else {
      throw failure(
        "unknown suffix '\(suffix)'", "use k (1000), M (1000000), Ki (1024) or Mi (1048576)")
    }
    guard let number = Int(digits.filter { $0 != "_" }) else {
      throw failure("this is too large", "the limit is \(Int.max)")
    }
    let (size, overflow) = number.multipliedReportingOverflow(by: multiplier)
    guard !overflow else { throw failure("this is too large", "the limit is \(Int.max)") }
    guard size >= 1 else { throw failure("a size is at least 1", example) }
    return size
  }

  /// The shortest exact text: `1k`, `100k`, `2M`, `4Ki`, or the digits. `parse` reads it back.
  public static func short(_ size: Int) -> String {
    for (suffix, unit) in [("M", 1_000_000), ("k", 1000), ("Mi", 1_048_576), ("Ki", 1024)]
    where size >= unit && size.isMultiple(of: unit) {
      return "\(size / unit)\(suffix)"
    }
    return "\(size)"
  }
}
