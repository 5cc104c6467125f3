import Attention
import AttentionBench

/// The files that options name for arguments of a problem: what is wrong is said of them, as they were typed,
/// and not of the library's arguments.
struct ArgumentFiles {
  /// A file and the argument that it was read for, as the library's errors name that.
  struct File {
    let argument: String
    /// As typed, `--key-bias b.npy`, or what the file of `--inputs` holds beside q, k and v.
    let name: String
    /// Whether it is of `--inputs`, which no option of its own asked for.
    let isHeld: Bool

    init(_ argument: String, _ name: String, isHeld: Bool = false) {
      self.argument = argument
      self.name = name
      self.isHeld = isHeld
    }

    /// A list of numbers, if a file holds it; nil where it was written out or not given.
    init?(_ argument: String, option: String, list: String?) {
      guard let list, NumberList.isFile(list) else { return nil }
      self.init(argument, "\(option) \(list)")
    }
  }

  private var files: [File]

  init(_ files: [File?] = []) { self.files = files.compactMap { $0 } }

  static func + (first: ArgumentFiles, second: ArgumentFiles) -> ArgumentFiles {
    ArgumentFiles(first.files + second.files)
  }

  /// The error about a problem as one of the file that holds what does not fit: exit code 1. Nil where no
  /// file does.
  func holding(_ error: AttentionError) -> FileProblemError? {
    named(error).map {
      FileProblemError(source: $0.names, problem: "holds \(error.value): \(error.advice)")
    }
  }

  /// The error of a strategy that does not serve an argument as one of the options that ask for it, whatever
  /// their files hold, or of the file of `--inputs` where none does. Nil where no file is asked for.
  func unserved(_ error: AttentionError) -> (any Error)? {
    named(error).map { names, isHeld -> any Error in
      isHeld
        ? FileProblemError(source: names, problem: error.advice)
        : UsageError("\(names): \(error.advice)")
    }
  }

  private func named(_ error: AttentionError) -> (names: String, isHeld: Bool)? {
    let own = files.filter { $0.argument == error.argument }
    if own.isEmpty { return nil }
    return (own.map(\.name).joined(separator: " and "), own.allSatisfy(\.isHeld))
  }
}
