import Choosing
import Foundation
import Measuring
import Records
import Statistics
import SystemPackage
import TensorFiles
import Units

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

  /// Draws a figure, for files in `directory`: the script and, beside it, the pictures.
  ///
  /// - Throws: `PlotError` when the directory for temporary files cannot be written or gnuplot
  ///   fails.
  package func draw(
    _ figure: Figure, formats: [GnuplotScript.Format], in directory: String
  ) throws(PlotError) -> [OutputFile] {
    let script = GnuplotScript(figure, formats: formats).text
    let names = formats.map { "\(figure.name).\($0.rawValue)" }
    let pictures = try output(of: script, named: figure.name, in: names)
    return [OutputFile("\(directory)/\(figure.name).gp", script)]
      + zip(names, pictures).map { OutputFile("\(directory)/\($0)", $1) }
  }

  /// The picture of a figure.
  ///
  /// - Throws: `PlotError` where gnuplot fails.
  public func picture(
    of figure: Figure, format: GnuplotScript.Format
  ) throws(PlotError) -> [UInt8] {
    let picture = "\(figure.name).\(format.rawValue)"
    return try output(
      of: GnuplotScript(figure, formats: [format]).text, named: figure.name, in: [picture])[0]
  }

  /// Draws a figure in characters, with its title above and its notes below.
  ///
  /// - Throws: `PlotError` when the directory for temporary files cannot be written or gnuplot
  ///   fails.
  public func text(_ figure: Figure, columns: Int, lines: Int) throws(PlotError) -> String {
    let script = GnuplotScript(figure, columns: columns, lines: lines, output: "plot.txt")
    let plot = try output(of: script.text, named: "plot", in: ["plot.txt"])[0]
    let body = String(decoding: plot, as: UTF8.self).split(separator: "\n").filter {
      !$0.allSatisfy(\.isWhitespace)
    }
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
    return try picture(of: script, in: name, format)
  }

  /// Draws the attention of all heads and what strategies keep of it, a small map a head.
  ///
  /// - Parameters and errors: as for one head.
  public func picture(
    of heads: HeadMaps, title: String, subtitle: String, format: GnuplotScript.Format
  ) throws(PlotError) -> [UInt8] {
    let name = "map.\(format.rawValue)"
    let script = AttentionMapScript(
      heads, title: title, subtitle: subtitle, format: format, output: name)
    return try picture(of: script, in: name, format)
  }

  private func picture(
    of script: AttentionMapScript, in name: String, _ format: GnuplotScript.Format
  ) throws(PlotError) -> [UInt8] {
    let bytes = try output(of: script.text, named: "map", in: [name])[0]
    guard format == .svg else { return bytes }
    // The pixels of a small map are large, and viewers would blur them into each other.
    let sharp = "<image style='image-rendering: pixelated' "
    return Array(String(decoding: bytes, as: UTF8.self).replacing("<image ", with: sharp).utf8)
  }

  /// Runs a script in a directory of its own and returns the files it writes there.
  private func output(
    of script: String, named name: String, in files: [String]
  ) throws(PlotError) -> [[UInt8]] {
    let directory = NSTemporaryDirectory() + "attnbench-plot-" + UUID().uuidString
    guard mkdir(directory, 0o700) == 0 else {
      let error = Errno(rawValue: errno)
      throw .file(.system(operation: "create directory", path: directory, errno: error))
    }
    // A leftover in the temporary directory is no reason to fail a plot that has been drawn.
    defer { try? FileManager.default.removeItem(atPath: directory) }
    do throws(RecordError) {
      try FileBytes.replace("\(directory)/\(name).gp", with: Array(script.utf8))
    } catch {
      throw .file(error)
    }
    try run("\(name).gp", in: directory)
    return try files.map { file throws(PlotError) in
      let path = "\(directory)/\(file)"
      let bytes: [UInt8]
      do throws(RecordError) {
        bytes = try FileBytes.read(path)
      } catch {
        throw .file(error)
      }
      guard Self.isComplete(bytes, file) else { throw .pictureTruncated(path: path) }
      return bytes
    }
  }

  private func run(_ script: String, in directory: String) throws(PlotError) {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: executable)
    // -d: the user's ~/.gnuplot must not change what the script says.
    process.arguments = ["-d", script]
    process.currentDirectoryURL = URL(fileURLWithPath: directory)
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = output
    let said: Data
    do {
      try process.run()
      said = output.fileHandleForReading.readDataToEndOfFile()
    } catch {
      throw .gnuplotFailed(script: script, output: error.localizedDescription)
    }
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw .gnuplotFailed(script: script, output: String(decoding: said, as: UTF8.self))
    }
  }

  /// gnuplot does not notice that a disk is full: a picture without its end is all that tells.
  private static func isComplete(_ bytes: [UInt8], _ file: String) -> Bool {
    if file.hasSuffix(".png") { return bytes.suffix(8).starts(with: Array("IEND".utf8)) }
    let text = bytes.reversed().drop { Character(UnicodeScalar($0)).isWhitespace }
    return !file.hasSuffix(".svg") || text.starts(with: "</svg>".utf8.reversed())
  }
}
