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
    let script = GnuplotScript(figure, columns: columns, lines: lines, output: "plot.txt")
    let plot = try String(decoding: output(of: script.text, in: "plot.txt"), as: UTF8.self)
    let body = plot.split(separator: "\n").filter { !$0.allSatisfy(\.isWhitespace) }
    let head = ["\(figure.title): \(figure.yLabel)", figure.subtitle]
    return (head + body.map(String.init) + figure.notes).joined(separator: "\n") + "\n"
  }

  /// Draws the attention of a head and what strategies keep of it.
  ///
  /// - Parameters:
  ///   - title: what was drawn: the tensors and the head.
  ///   - subtitle: the lengths, the mask.
  /// - Returns: the bytes of the picture.
  /// - Throws: `PlotError` when the directory for temporary files cannot be written or gnuplot
  ///   fails.
  public func picture(
    of map: AttentionMap, title: String, subtitle: String, format: GnuplotScript.Format
  ) throws(PlotError) -> [UInt8] {
    let name = "map.\(format.rawValue)"
    let script = AttentionMapScript(
      map, title: title, subtitle: subtitle, format: format, output: name)
    let bytes = try output(of: script.text, in: name)
    guard format == .svg else { return bytes }
    // The pixels of a small map are large, and viewers would blur them into each other.
    let sharp = "<image style='image-rendering: pixelated' "
    return Array(String(decoding: bytes, as: UTF8.self).replacing("<image ", with: sharp).utf8)
  }

  /// Runs a script in a directory of its own and returns the file it writes there.
  private func output(of script: String, in file: String) throws(PlotError) -> [UInt8] {
    let directory = NSTemporaryDirectory() + "attnbench-plot-" + UUID().uuidString
    guard mkdir(directory, 0o700) == 0 else {
      let error = Errno(rawValue: errno)
      throw .file(.system(operation: "create directory", path: directory, errno: error))
    }
    // A leftover in the temporary directory is no reason to fail a plot that has been drawn.
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try run(script, name: "plot", in: directory)
    do {
      return try FileBytes.read("\(directory)/\(file)")
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
