import Foundation
import SystemPackage

/// The gnuplot program on this machine.
public struct Gnuplot: Sendable {
  private let executable: String

  /// Finds gnuplot on the search path.
  ///
  /// - Parameter searchPath: directories separated by colons, as in `PATH`.
  /// - Throws: `PlotError.gnuplotMissing`.
  public init(
    searchPath: String = ProcessInfo.processInfo.environment["PATH"] ?? ""
  ) throws(PlotError) {
    let candidates = searchPath.split(separator: ":").map { "\($0)/gnuplot" }
    guard let found = candidates.first(where: FileManager.default.isExecutableFile) else {
      throw .gnuplotMissing
    }
    executable = found
  }

  /// Draws a figure into `directory` and keeps the script beside the pictures.
  ///
  /// - Returns: the paths of the script and the pictures.
  /// - Throws: `PlotError` when the directory cannot be written or gnuplot fails.
  public func draw(
    _ figure: Figure, formats: [GnuplotScript.Format], in directory: String
  ) throws(PlotError) -> [String] {
    try run(GnuplotScript(figure, formats: formats).text, name: figure.name, in: directory)
    let endings = ["gp"] + formats.map(\.rawValue)
    return endings.map { "\(directory)/\(figure.name).\($0)" }
  }

  /// Draws a figure in characters, with its title above and its notes below.
  ///
  /// - Throws: `PlotError` when the directory for temporary files cannot be written or gnuplot
  ///   fails.
  public func text(_ figure: Figure, columns: Int, lines: Int) throws(PlotError) -> String {
    let directory = NSTemporaryDirectory() + "attnbench-plot-" + UUID().uuidString
    guard mkdir(directory, 0o700) == 0 else {
      let error = Errno(rawValue: errno)
      throw .file(.system(operation: "create directory", path: directory, errno: error))
    }
    // A leftover in the temporary directory is no reason to fail a plot that has been drawn.
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let script = GnuplotScript(figure, columns: columns, lines: lines, output: "plot.txt")
    try run(script.text, name: figure.name, in: directory)
    do {
      let plot = String(decoding: try FileBytes.read(directory + "/plot.txt"), as: UTF8.self)
      let body = plot.split(separator: "\n").filter { !$0.allSatisfy(\.isWhitespace) }
      let head = ["\(figure.title): \(figure.yLabel)", figure.subtitle]
      return (head + body.map(String.init) + figure.notes).joined(separator: "\n") + "\n"
    } catch {
      throw .file(error)
    }
  }

  private func run(_ script: String, name: String, in directory: String) throws(PlotError) {
    let path = "\(directory)/\(name).gp"
    do {
      try FileBytes.replace(path, with: Array(script.utf8))
    } catch {
      throw .file(error)
    }
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: executable)
    // -d: the user's ~/.gnuplot must not change what the script says.
    process.arguments = ["-d", "\(name).gp"]
    process.currentDirectoryURL = URL(fileURLWithPath: directory)
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = output
    let said: Data
    do {
      try process.run()
      said = output.fileHandleForReading.readDataToEndOfFile()
    } catch {
      throw .gnuplotFailed(script: path, output: error.localizedDescription)
    }
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw .gnuplotFailed(script: path, output: String(decoding: said, as: UTF8.self))
    }
  }
}
