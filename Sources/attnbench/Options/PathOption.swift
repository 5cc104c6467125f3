/// How every option that names a file or a directory reads it.
enum PathOption {
  /// Reads one; for the `transform` of an option, whose name the message then has.
  ///
  /// - Throws: where there is no name, as a variable of a shell that is not set leaves it.
  @Sendable static func parse(_ text: String) throws -> String {
    if text.isEmpty { throw NoName() }
    return text
  }

  private struct NoName: Error, CustomStringConvertible {
    let description = "it is empty; name a file or a directory"
  }
}
