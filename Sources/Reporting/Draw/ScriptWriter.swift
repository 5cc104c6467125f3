import Choosing
import Foundation
import Measuring
import RealModule
import Records
import Statistics
import Units

/// The parts of a gnuplot script for one figure, for pictures or for characters.
struct ScriptWriter {
  let figure: Figure
  /// Characters have no superscripts, colours or fonts.
  let isText: Bool

  /// One inline block a curve and a guide.
  var data: [String] {
    var lines: [String] = []
    for (index, curve) in figure.curves.enumerated() {
      lines += ["$curve\(index) << EOD", "# x value low high"]
      lines += curve.points.map { "\($0.x) \($0.value) \($0.low) \($0.high)" }
      lines.append("EOD")
      lines += predictedData(index, curve)
    }
    for (index, line) in drawnGuides.enumerated() {
      lines += ["$guide\(index) << EOD", "\(line.from.x) \(line.from.y)"]
      lines += ["\(line.to.x) \(line.to.y)", "EOD"]
    }
    return lines
  }

  /// Everything from the title to the ticks.
  var layout: [String] {
    let range = PlotAxis.range(figure)
    var lines = ["set logscale x"]
    if figure.yAxis.isLogarithmic { lines.append("set logscale y") }
    lines.append("set xrange [\(xRange.lowerBound):\(xRange.upperBound)]")
    lines.append("set yrange [\(range.lowerBound):\(range.upperBound)]")
    lines += PlotAxis.xTicks(figure)
    lines += PlotAxis.yTicks(figure, range: range)
    return lines + (isText ? textFrame : pictureFrame)
  }

  /// The plot command.
  var plot: [String] {
    var parts = drawnGuides.indices.map { index in
      "$guide\(index) using 1:2 with lines linecolor rgb '#a0a0a0' linewidth 1.2 dashtype 2 notitle"
    }
    var group = ""
    for (index, curve) in figure.curves.enumerated() {
      if curve.mark == .line {
        // Characters cannot tell a line from points.
        if !isText { parts.append(lineCommand(index)) }
        continue
      }
      if curve.group != group && !isText {
        group = curve.group
        let heading = PlotText.quoted("{/:Bold \(PlotText.plain(group))}")
        parts.append("NaN with points pointtype -1 linecolor rgb '#ffffff' title \(heading)")
      }
      parts.append(command(index, curve))
    }
    parts += predictedParts
    return ["plot \(parts.joined(separator: ", \\\n     "))"]
  }

  private func command(_ index: Int, _ curve: Figure.Curve) -> String {
    let block = "$curve\(index)"
    let with = curve.mark == .points ? "points" : "linespoints"
    guard !isText else { return "\(block) using 1:2 with \(with) title \(label(curve))" }
    let style = curve.style
    let look = "linecolor rgb '\(style.color)'"
    let bars =
      curve.points.contains { $0.low < $0.high }
      ? "\(block) using 1:2:3:4 with yerrorbars \(look) linewidth 1 pointtype -1 notitle, \\\n     "
      : ""
    return bars
      + "\(block) using 1:2 with \(with) \(look) linewidth 1.8 dashtype \(style.dashType) "
      + "pointtype \(style.pointType) pointsize 0.8 "
      + (curve.isListed ? "title \(label(curve))" : "notitle")
  }

  private func lineCommand(_ index: Int) -> String {
    "$curve\(index) using 1:2 with lines linecolor rgb '#909090' linewidth 1.2 notitle"
  }

  private func predictedData(_ index: Int, _ curve: Figure.Curve) -> [String] {
    if curve.predicted.isEmpty { return [] }
    let points = curve.predictedLine.map { "\($0.n) \($0.value) \($0.low) \($0.high)" }
    return ["$predicted\(index) << EOD", "# n value low high"] + points + ["EOD"]
  }

  /// Dotted lines and open points, and a group of the legend for them.
  private var predictedParts: [String] {
    let indices = figure.curves.indices.filter { !figure.curves[$0].predicted.isEmpty }
    guard !indices.isEmpty else { return [] }
    guard !isText else {
      return indices.map { "$predicted\($0) every ::1 using 1:2 with points pointtype '?' notitle" }
        + ["NaN with points pointtype '?' title 'predicted, not measured'"]
    }
    let parts = indices.flatMap { index in
      let (curve, block) = (figure.curves[index], "$predicted\(index)")
      let look = "linecolor rgb '\(curve.style.color)'"
      let shape = CurveStyle(strategy: curve.style.strategy, variant: 1).pointType
      return [
        "\(block) using 1:2 with lines \(look) linewidth 1.2 \(Self.dotted) notitle",
        "\(block) every ::1 using 1:2:3:4 with yerrorbars \(look) linewidth 1 "
          + "pointtype \(shape) pointsize 1.1 notitle",
      ]
    }
    let legend = [
      "NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold not measured}'",
      "NaN with linespoints linecolor rgb '#606060' linewidth 1.2 \(Self.dotted) "
        + "pointtype 6 pointsize 1.1 title 'predicted'",
    ]
    return parts + legend
  }

  private static let dotted = "dashtype (2,4)"

  private func label(_ curve: Figure.Curve) -> String {
    let hundredths = curve.exponent.map { String(format: "%.2f", $0) }
    guard !isText else {
      // Without colours the legend is all that tells classes apart.
      let power = hundredths.map { "  n^\($0)" } ?? ""
      return PlotText.quoted("\(curve.label) [\(curve.group)]\(power)")
    }
    let power = hundredths.map { "  n^{\($0)}" } ?? ""
    return PlotText.quoted(PlotText.plain(curve.label) + power)
  }
}

extension ScriptWriter {
  private var xRange: ClosedRange<Double> { PlotAxis.xRange(figure) }

  private var textFrame: [String] {
    [
      "set key outside bottom center vertical maxrows 40",
      "set xlabel \(PlotText.quoted(figure.xLabel))",
    ]
  }

  /// A picture's width in points.
  static let width = 900.0
  /// Its height, unless the legend needs more.
  private static let usualHeight = 600.0
  /// From one line of the legend to the next.
  private static let legendLine = 22.5
  /// From one note to the next.
  private static let noteLine = 18.0

  /// A picture's height in points: so many strategies may be compared that the usual one does not hold
  /// their names. gnuplot puts what does not fit beside the frame into a second column, which lies
  /// outside of the picture.
  var height: Double {
    let listed = figure.curves.filter { $0.isListed && $0.mark != .line }
    let headings = listed.indices.count { $0 == 0 || listed[$0].group != listed[$0 - 1].group }
    let predicted = figure.curves.contains { !$0.predicted.isEmpty } ? 2 : 0
    let legend = Self.legendLine * Double(listed.count + headings + predicted)
    return max(Self.usualHeight, top + legend + Self.legendLine + bottom)
  }

  private var notes: [String] { PlotText.wrapped(figure.notes, columns: 128) }
  private var subtitle: [String] { PlotText.wrapped([figure.subtitle], columns: 118) }

  /// From the top to the frame: the title and the subtitle.
  private var top: Double { 81 + 18 * Double(max(0, subtitle.count - 1)) }
  /// From the frame to the bottom: the axis and the notes.
  private var bottom: Double { 81 + Self.noteLine * Double(notes.count) }

  private static let left = 0.13

  private var pictureFrame: [String] {
    let (height, right) = (self.height, rightEdge)
    var lines = [
      "set lmargin at screen \(Self.left)", "set rmargin at screen \(right)",
      "set tmargin at screen \(1 - top / height)", "set bmargin at screen \(bottom / height)",
      "set border 3 linecolor rgb '#404040'", "set tics nomirror out textcolor rgb '#303030'",
      "set grid xtics ytics linecolor rgb '#e4e4e4' linetype 1 linewidth 0.8",
      "set key at screen \(right + 0.01), screen \(1 - (top - 6) / height) left top Left reverse "
        + "samplen 2.2 spacing 1.25 "
        + "font ',12' textcolor rgb '#202020'",
      "set xlabel \(PlotText.quoted(figure.xLabel)) textcolor rgb '#303030' offset 0,0.2",
      "set ylabel \(PlotText.quoted(figure.yLabel)) textcolor rgb '#303030'",
      screenLabel(
        "{/:Bold \(PlotText.plain(figure.title))}", y: 1 - 27 / height, size: 19, gray: "000000"),
    ]
    for (index, line) in subtitle.enumerated() {
      let y = 1 - (57 + 18 * Double(index)) / height
      lines.append(screenLabel(PlotText.plain(line), y: y, size: 13, gray: "505050"))
    }
    for (index, note) in notes.enumerated() {
      let y = (12 + Self.noteLine * Double(notes.count - 1 - index)) / height
      lines.append(screenLabel(PlotText.plain(note), y: y, size: 11.5, gray: "606060"))
    }
    for line in drawnGuides where !line.label.isEmpty {
      lines.append(
        "set label \(PlotText.quoted(PlotText.plain(line.label))) at \(line.to.x),\(line.to.y) "
          + "right offset \(line.labelOffset) font ',13' textcolor rgb '#707070' front")
    }
    for curve in figure.curves {
      guard !curve.startLabel.isEmpty, let first = curve.points.first else { continue }
      lines.append(
        "set label \(PlotText.quoted(PlotText.plain(curve.startLabel))) at "
          + "\(first.x),\(first.value) right offset 0,-0.8 font ',9' textcolor rgb '#606060'")
    }
    return lines + pointLabels
  }

  private var pointLabels: [String] {
    let (x, y) = (xRange, PlotAxis.range(figure))
    let size = (
      width: Self.width * (rightEdge - Self.left), height: height - top - bottom
    )
    func share(_ value: Double, _ range: ClosedRange<Double>) -> Double {
      Double.log(value / range.lowerBound) / Double.log(range.upperBound / range.lowerBound)
    }
    let labels = PointLabels(figure, width: 5.5, height: 12) { point in
      (
        size.width * share(point.x, x),
        size.height
          * (figure.yAxis.isLogarithmic ? share(point.value, y) : point.value / y.upperBound)
      )
    }
    return labels.placed.map { label in
      "set label \(PlotText.quoted(PlotText.plain(label.text))) at "
        + "\(label.point.x),\(label.point.value) left offset 0.5,0.5 font ',9' "
        + "textcolor rgb '\(figure.curves[label.curve].style.color)' front"
    }
  }

  /// Where the frame ends and the legend begins, so that the longest name has room.
  private var rightEdge: Double {
    let longest = figure.curves.filter(\.isListed).map { curve in
      curve.label.count + (curve.exponent == nil ? 0 : 5)
    }.max()
    // Out of 900: 60 for the line sample and the margins, 6.8 for an average character.
    return min(0.77, max(0.5, 1 - (60 + 6.8 * Double(max(longest ?? 0, 19))) / 900))
  }

  private func screenLabel(_ text: String, y: Double, size: Double, gray: String) -> String {
    "set label \(PlotText.quoted(text)) at screen 0.02, screen \(y) left font ',\(size)' "
      + "textcolor rgb '#\(gray)'"
  }

  /// A guide cut to the frame.
  private struct Line {
    let from: (x: Double, y: Double)
    let to: (x: Double, y: Double)
    let label: String
    /// Where its name goes, in characters from its end: to the side without curves.
    let labelOffset: String
  }

  /// Characters cannot tell a guide from a curve, so only pictures have them.
  private var drawnGuides: [Line] {
    guard !isText else { return [] }
    let range = PlotAxis.range(figure)
    return figure.guides.compactMap { guide in
      guard let ends = guide.ends(in: xRange, range) else { return nil }
      return Line(
        from: ends.from, to: ends.to, label: guide.label,
        labelOffset: guide.power == 2
          ? "-3,-0.4"
          : guide.factor == figure.edge?.value
            ? "0,-0.7" : guide.power == 0 ? "0,0.6" : guide.extent == nil ? "0,-0.9" : "-1,0.3")
    }
  }
}
