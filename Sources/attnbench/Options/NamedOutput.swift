import TensorFiles

/// A file to write, and the option that names it.
struct NamedOutput {
  let option: String
  let path: String

  /// Nil where the option was not given.
  init?(_ option: String, _ path: String?) {
    guard let path else { return nil }
    self.option = option
    self.path = path
  }

  /// As typed.
  fileprivate var text: String { "\(option) \(path)" }
}

extension OutputTransaction {
  /// As `check(_:reading:)`; where two outputs are one file, both are named with their options.
  ///
  /// - Parameter advice: what to do about two outputs that are one file.
  /// - Throws: `UsageError` for those, else `OutputError`.
  static func check(
    _ outputs: [NamedOutput], reading inputs: [String],
    advice: String = "give each output a file of its own"
  ) throws {
    do {
      try check(outputs.map(\.path), reading: inputs)
    } catch {
      guard case .sameFile(let other) = error.reason,
        let first = outputs.first(where: { $0.path == other }),
        let second = outputs.last(where: { $0.path == error.path })
      else { throw error }
      throw UsageError("\(second.text): is the same file as \(first.text); \(advice)")
    }
  }
}
