import Attention
import Statistics
import SystemPackage
import TensorFiles
import Units

/// Why results could not be written or read.
public enum RecordError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The system refused: what was tried, where, and its error number.
  case system(operation: String, path: String, errno: Errno)
  /// A file that is replaced as a whole could not be.
  case output(OutputError)
  /// The directory already holds results, and no resume was asked for.
  case resultsExist(path: String)
  /// Another process is writing the results.
  case inUse(path: String)
  /// The file to resume has other columns than this version writes.
  case columnsDiffer(path: String)
  /// A column that is needed is not in the header.
  case missingColumn(path: String, column: String)
  /// A cell holds something else than its column says. Rows count from 1, without the header.
  case malformedCell(path: String, row: Int, error: CSVCellError)
  /// The file is no CSV.
  case malformedFile(path: String, problem: String)
  /// The rows were written by a later version.
  case newerSchema(path: String, version: Int)

  /// One line: the path, what is wrong and what to do.
  public var description: String {
    switch self {
    case .system(let operation, let path, let errno):
      return "cannot \(operation) \(path): \(errno); \(Self.fix(for: errno))"
    case .output(let error):
      return "\(error)"
    case .resultsExist(let path):
      return "\(path) already exists; add --resume to go on with it, or choose another "
        + "directory with -o"
    case .inUse(let path):
      return "\(path) is being written by another attnbench; wait for it to end, or choose another "
        + "directory with -o"
    case .columnsDiffer(let path):
      return "\(path) was written with other columns and cannot be resumed; choose another "
        + "directory with -o"
    case .missingColumn(let path, let column):
      return "\(path) has no column '\(column)'; is it a results file of attnbench sweep?"
    case .malformedCell(let path, let row, let error):
      return "\(path), row \(row), column '\(error.column)': '\(error.text)' is not "
        + "\(error.expectation); correct or delete the row"
    case .malformedFile(let path, let problem):
      return "\(path) cannot be read: \(problem); is it a file of attnbench sweep?"
    case .newerSchema(let path, let version):
      return "\(path) has schema_version \(version) and this attnbench reads up to "
        + "\(ResultRow.currentSchemaVersion); use the version that wrote it"
    }
  }

  private static func fix(for errno: Errno) -> String {
    switch errno {
    case .noSpace, Errno(rawValue: diskQuotaExceeded):
      "make room; a sweep goes on with --resume, its finished rows are kept"
    case .fileTooLarge:
      "raise the file size limit (ulimit -f); a sweep goes on with --resume, its finished rows are "
        + "kept"
    case .permissionDenied, .notPermitted, .readOnlyFileSystem:
      "choose a directory that you may write to with -o"
    case .notDirectory:
      "a part of the path is a file; choose another directory with -o"
    case .noSuchFileOrDirectory:
      "check the path"
    default:
      "check the disk, or choose another directory with -o"
    }
  }

  // EDQUOT on Linux.
  private static let diskQuotaExceeded: CInt = 122
}
