import Foundation

/// Runs the built `attnbench` as a process of its own, as a user would.
enum AttnbenchProcess {
  struct Result {
    let code: Int32
    let output: String
    let error: String

    var outputLines: [String] { output.split(separator: "\n").map(String.init) }
    /// One line of standard output; empty where there is none.
    func line(_ index: Int) -> String { outputLines.dropFirst(index).first ?? "" }

    /// Without what is said of every computation where OpenBLAS would pick poor kernels by itself: there are
    /// processors on which it does.
    var errorLines: [String] {
      error.split(separator: "\n").map(String.init).filter { !$0.hasPrefix("note: OpenBLAS ") }
    }
  }

  /// `swift test` builds the command into the folder that this test program runs from.
  static let executable = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    .deletingLastPathComponent().appending(path: "attnbench").path

  /// Runs `attnbench` with arguments.
  ///
  /// - Parameters:
  ///   - environment: added to a small one without OpenBLAS's variables.
  ///   - directory: where it runs.
  static func run(
    _ arguments: [String], environment: [String: String] = [:], in directory: String = "/"
  ) throws -> Result {
    try launch(executable, arguments, environment, directory)
  }

  /// Runs a line of shell in which `$A` is the command.
  static func shell(_ line: String, in directory: String) throws -> Result {
    try launch("/bin/sh", ["-c", line], ["A": executable], directory)
  }

  private static func launch(
    _ program: String, _ arguments: [String], _ environment: [String: String],
    _ directory: String
  ) throws -> Result {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    let inherited = ProcessInfo.processInfo.environment
    let base = ["PATH", "HOME", "TMPDIR"].reduce(into: [:]) { $0[$1] = inherited[$1] }
    process.environment = base.merging(environment) { _, given in given }
    process.currentDirectoryURL = URL(fileURLWithPath: directory)
    // Files, not pipes: neither stream can fill up and block the other.
    let streams = try TemporaryDirectory()
    defer { streams.remove() }
    let (output, error) = (streams.path("output"), streams.path("error"))
    for path in [output, error] { try Data().write(to: URL(fileURLWithPath: path)) }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle(forWritingAtPath: output)
    process.standardError = FileHandle(forWritingAtPath: error)
    try process.run()
    process.waitUntilExit()
    // A process that a signal ended did not report an error, it crashed.
    let crashed = process.terminationReason == .uncaughtSignal
    return Result(
      code: crashed ? -process.terminationStatus : process.terminationStatus,
      output: try String(contentsOfFile: output, encoding: .utf8),
      error: try String(contentsOfFile: error, encoding: .utf8))
  }
}

/// A directory of a test's own.
struct TemporaryDirectory {
  let root: String

  init() throws {
    root = NSTemporaryDirectory() + "attnbench-command-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
  }

  func path(_ name: String) -> String { root + "/" + name }

  /// The names of all files in it, hidden ones too.
  var contents: [String] {
    get throws { try FileManager.default.contentsOfDirectory(atPath: root).sorted() }
  }

  func remove() { try? FileManager.default.removeItem(atPath: root) }
}
