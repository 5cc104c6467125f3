import AttentionBench

/// How every option that is one number with a fraction reads it.
enum FloatOption {
  /// Reads one; for the `transform` of an option.
  ///
  /// - Throws: `FloatText.Fault` in words.
  @Sendable static func parse(_ text: String) throws -> Float {
    do {
      return try FloatText.parse(text)
    } catch {
      throw NotANumber(description: "\(error.rule); \(error.fix)")
    }
  }

  private struct NotANumber: Error, CustomStringConvertible {
    let description: String
  }
}
