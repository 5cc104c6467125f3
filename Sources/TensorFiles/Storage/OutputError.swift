import SystemPackage

/// Outputs that could not be written. Whatever it is, what stood there before is still to be had,
/// and the message says where.
public struct OutputError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What is wrong with an output.
  public enum Reason: Hashable, Sendable {
    /// The operating system refused.
    case system(Errno)
    /// A directory stands where a file is to be written.
    case directory
    /// Another output is the same file.
    case sameFile(as: String)
    /// The same command reads the file, as something else than it would write.
    case input(String)
    /// Nothing may be written into the directory where the output or its new content is to stand.
    case closedDirectory(String, Errno)
  }

  /// The output, as the caller named it.
  public let path: String

  /// What is wrong.
  public let reason: Reason

  /// What is not as it was before, one clause each; empty where nothing was changed.
  package var changes: [String] = []

  init(_ path: String, _ reason: Reason) {
    self.path = path
    self.reason = reason
  }

  /// Calls `body` and states its failure as one of `path`.
  static func naming<Result>(
    _ path: String, _ body: () throws(Errno) -> Result
  ) throws(OutputError) -> Result {
    do throws(Errno) {
      return try body()
    } catch {
      throw OutputError(path, .system(error))
    }
  }

  /// One line: the output, what is wrong, the way out, and what has been changed.
  public var description: String { "\(path): \(explanation)" }

  /// The message without the output's name.
  var explanation: String {
    let changed = changes.isEmpty ? "nothing was changed" : changes.joined(separator: ", ")
    switch reason {
    case .system(let errno):
      return "cannot write: \(errno); \(Self.fix(for: errno)); \(changed)"
    case .directory:
      return "cannot write: is a directory; name a file; \(changed)"
    case .input(let input):
      let name = input == path ? "an input of this command" : "the same file as the input \(input)"
      return "is \(name), which it would replace; name another file for the output; \(changed)"
    case .closedDirectory(let directory, let errno):
      return "cannot write: nothing may be written into the directory \(directory) (\(errno)); "
        + "name a file in another one, or get the right to write there; \(changed)"
    case .sameFile(let other):
      return "is the same file as \(other); give each output a file of its own; \(changed)"
    }
  }

  private static func fix(for errno: Errno) -> String {
    switch errno {
    case .noSpace, Errno(rawValue: diskQuotaExceeded): "make room or write to another disk"
    case .fileTooLarge: "raise the file size limit (ulimit -f)"
    case .noSuchFileOrDirectory: "the directory must exist"
    case .notDirectory: "a part of the path is a file"
    case .tooManySymbolicLinkLevels: "the symbolic links lead in a circle"
    case .permissionDenied, .notPermitted, .readOnlyFileSystem:
      "name a place that you may write to"
    case .fileNameTooLong: "a name has at most 255 bytes, a path 4096: shorten it"
    case .brokenPipe: "nobody reads it any more"
    default: "check the disk, or name another place"
    }
  }

  // EDQUOT on Linux.
  private static let diskQuotaExceeded: CInt = 122
}
