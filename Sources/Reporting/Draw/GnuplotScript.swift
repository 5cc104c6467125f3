import Choosing
import Measuring
import RealModule
import Records
import Statistics
import Units

/// A figure in gnuplot's language (version 5.2 and later), data included: the text alone draws it.
public struct GnuplotScript: Sendable {
  public enum Format: String, CaseIterable, Sendable {
    /// Scalable, for web pages.
    case svg
    /// Pixels, twice the size for sharp screens.
    case png
  }

  public let text: String

  /// Draws `figure` into files named after it, in the directory gnuplot runs in.
  public init(_ figure: Figure, formats: [Format]) {
    let writer = ScriptWriter(figure: figure, isText: false)
    var lines = [
      "# Drawn by attnbench. `gnuplot \(figure.name).gp` draws it again.",
      "set encoding utf8",
    ]
    lines += writer.data + writer.layout
    for (index, format) in formats.enumerated() {
      lines.append("set terminal \(Self.terminal(format, height: writer.height))")
      lines.append("set output '\(figure.name).\(format.rawValue)'")
      lines += index == 0 ? writer.plot : ["replot"]
    }
    text = lines.joined(separator: "\n") + "\nset output\n"
  }

  /// Draws `figure` in characters into the file `output`.
  public init(_ figure: Figure, columns: Int, lines: Int, output: String) {
    let writer = ScriptWriter(figure: figure, isText: true)
    let head = [
      "set encoding utf8", "set terminal dumb noenhanced size \(columns),\(lines)",
      "set output \(PlotText.quoted(output))",
    ]
    text =
      (head + writer.data + writer.layout + writer.plot).joined(separator: "\n")
      + "\nset output\n"
  }

  private static func terminal(_ format: Format, height: Double) -> String {
    let (width, height) = (Int(ScriptWriter.width), Int(height.rounded(.up)))
    return switch format {
    case .svg:
      "svg enhanced size \(width),\(height) dynamic font 'sans-serif,14' background '#ffffff'"
    case .png:
      "pngcairo enhanced size \(2 * width),\(2 * height) font 'sans-serif,14' fontscale 1.5 "
        + "linewidth 2 pointscale 2 background '#ffffff'"
    }
  }
}
