import Attention

/// How every option that is a count reads it: `1500`, `1_500`, `1.5k`, `4Ki`.
enum Count {
  /// Reads one; for the `transform` of an option.
  ///
  /// - Throws: `CountText.Fault` in words.
  @Sendable static func parse(_ text: String) throws -> Int {
    do {
      return try CountText.parse(text)
    } catch {
      throw NotACount(description: "\(error.rule); \(error.fix)")
    }
  }

  private struct NotACount: Error, CustomStringConvertible {
    let description: String
  }
}
