import Attention

/// One sequence length as the command line writes it and as tables and axes print it.
public enum SizeText {
  /// Reads one size, as `CountText` does.
  ///
  /// - Throws: `PlanError` that names `argument` and the text when it is no whole number, has an
  ///   unknown suffix, is zero or negative, or does not fit an `Int`.
  public static func parse(_ text: String, argument: String) throws(PlanError) -> Int {
    func failure(_ rule: String, _ fix: String) -> PlanError {
      PlanError(argument: argument, value: text, rule: rule, fix: fix)
    }
    guard !text.isEmpty else { throw failure("the size is empty", CountText.example) }
    let size: Int
    do {
      size = try CountText.parse(text)
    } catch {
      throw failure(error.rule, error.fix)
    }
    guard size >= 1 else { throw failure("a size is at least 1", CountText.example) }
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
