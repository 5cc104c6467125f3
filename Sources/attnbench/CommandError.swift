import ArgumentParser
import Attention
import AttentionBench
import MachineTopology
import TensorFiles

/// A command line that cannot be meant: exit code 64.
struct UsageError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// A command that was understood and failed: exit code 1.
struct CommandFailure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// Exit codes of every command: 0 ok, 1 failure or mismatch, 2 regression, 64 usage, 130
/// interrupted with results kept.
package enum CommandExit {
  static let failure = ExitCode(1)
  static let regression = ExitCode(2)
  static let usage = ExitCode(64)
  static let interrupted = ExitCode(130)

  /// What to tell the user about an error and the code to leave with.
  package struct Outcome {
    package var message: String?
    package var code: ExitCode
    /// Help and versions are data, errors are not.
    var isData = false
  }

  package static func outcome(of error: any Error) -> Outcome {
    switch error {
    case let code as ExitCode:
      return Outcome(message: nil, code: code)
    case is UsageError, is PlanError:
      return Outcome(message: "error: \(error)", code: usage)
    case let error as OutputError:
      return Outcome(message: "error: \(error)", code: error.isUsage ? usage : failure)
    case is CommandFailure, is RecordError, is ChoiceFileError, is PlotError, is FileProblemError:
      return Outcome(message: "error: \(error)", code: failure)
    case let error as AttentionError:
      let isUsage = error.kind == .invalidArgument || error.kind == .unknownStrategy
      return Outcome(message: "error: \(error)", code: isUsage ? usage : failure)
    case let error as TopologyError:
      return Outcome(message: "error: \(error)", code: error.isUsage ? usage : failure)
    case let error as TensorFileError:
      return Outcome(message: "error: \(error)", code: error.isUsage ? usage : failure)
    default:
      return argumentParserOutcome(of: error)
    }
  }

  /// Errors of the argument parser, its requests for help among them, and everything else.
  private static func argumentParserOutcome(of error: any Error) -> Outcome {
    let code = Attnbench.exitCode(for: error)
    if code.isSuccess {
      return Outcome(message: Attnbench.fullMessage(for: error), code: code, isData: true)
    }
    let text = Attnbench.message(for: error).split(whereSeparator: \.isNewline)
      .map { $0.drop(while: \.isWhitespace) }.joined(separator: " ")
    guard code == .validationFailure else {
      return Outcome(message: "error: \(text)", code: failure)
    }
    let sentence = (text.prefix(1).lowercased() + text.dropFirst())
      .replacing("'. Did you mean", with: "'; did you mean")
    return Outcome(message: "error: \(sentence) (attnbench --help)", code: usage)
  }
}

extension TopologyError {
  /// Whether another command line would mend it.
  fileprivate var isUsage: Bool {
    switch self {
    case .malformedBinding, .unavailable, .tooFewPlaces, .invalidThreadCount: true
    case .bindingNotHonoured, .system: false
    }
  }
}

extension OutputError {
  /// Whether the names are at fault, not the disk.
  fileprivate var isUsage: Bool {
    switch reason {
    case .sameFile, .input: true
    case .system, .directory, .closedDirectory: false
    }
  }
}

extension OutputTransaction {
  /// Writes all outputs or none, and says what is to be known although all are written.
  func write() throws(OutputError) {
    for note in try commit() { Terminal.say("note: \(note)") }
  }
}

extension TensorFileError {
  /// Whether the argument that names the file is at fault, not the file.
  fileprivate var isUsage: Bool {
    switch reason {
    case .unknownExtension, .emptySelector, .selectorNotAllowed, .notAGroup,
      .unwritableElementType:
      true
    default: false
    }
  }
}
