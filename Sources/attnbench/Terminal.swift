import AttentionBench
import Foundation
import Synchronization
import TensorFiles

/// The two output streams: data goes to standard output, everything said about it to standard
/// error.
enum Terminal {
  private static let isReserved = Mutex(false)

  /// Leaves standard output to what a command writes there as a file, `--save /dev/stdout`; what it would
  /// print goes to standard error from now on.
  ///
  /// - Parameters:
  ///   - outputs: each with its option.
  ///   - isJSON: whether it would print JSON, which is as much of a file.
  /// - Throws: `UsageError` for two files in one stream.
  static func reserve(for outputs: [(option: String, path: String?)], isJSON: Bool) throws {
    let own = try outputs.compactMap { option, path in
      try path.flatMap { try OutputDestination($0).isStandardOutput ? "\(option) \($0)" : nil }
    }
    guard let first = own.first else { return }
    if isJSON {
      throw UsageError("\(first): --json prints there, too; leave one of them out")
    }
    isReserved.withLock { $0 = true }
  }

  /// Whether what is written to a path can be read there again: no pipe, no device.
  static func isFile(_ path: String) -> Bool { (try? OutputDestination(path))?.isFile ?? false }

  /// Writes one line to standard error.
  static func say(_ line: String) { show(line + "\n") }

  /// Writes to standard error as it stands, without ending the line.
  static func show(_ text: String) {
    // Nobody is left to tell when this stream fails.
    try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
  }

  /// Writes one line of data to standard output, or to standard error where that is reserved.
  ///
  /// - Throws: `CommandFailure`: data that did not arrive, on a full disk for one, must not look
  ///   like success.
  static func print(_ line: String) throws(CommandFailure) {
    if isReserved.withLock({ $0 }) { return say(line) }
    do {
      try FileHandle.standardOutput.write(contentsOf: Data((line + "\n").utf8))
    } catch {
      throw CommandFailure("cannot write to standard output: \(String(cString: strerror(errno)))")
    }
  }

  /// What text beside an output goes through: data as well, but not into an output that is standard
  /// output itself.
  static func printer(
    beside output: String?
  ) throws(OutputError) -> (String) throws(CommandFailure) -> Void {
    guard let output, try OutputDestination(output).isStandardOutput else { return print }
    return say
  }

  /// Writes a value to standard output as JSON.
  ///
  /// - Throws: as `print`, and what the encoder throws.
  static func print(json value: some Encodable, by encoder: JSONEncoder = .readable) throws {
    try print(String(decoding: try encoder.encode(value), as: UTF8.self))
  }

  /// Whether standard error is a terminal that moves its cursor: progress may overwrite itself.
  static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 && !isDumb }

  /// Whether lines on a terminal may be overwritten: who wants no colours wants no escape codes.
  static var allowsRewriting: Bool { (environment["NO_COLOR"] ?? "").isEmpty }

  /// Columns of the terminal; `COLUMNS` where it is set, 80 where nothing is known.
  static var columns: Int {
    if let columns = environment["COLUMNS"].flatMap(Int.init), columns > 0 { return columns }
    var size = winsize()
    let isKnown = ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
    return isKnown ? Int(size.ws_col) : 80
  }

  private static var isDumb: Bool { environment["TERM"] == "dumb" }
  private static var environment: [String: String] { ProcessInfo.processInfo.environment }
}
