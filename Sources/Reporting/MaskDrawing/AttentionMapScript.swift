import Choosing
import Foundation
import Measuring
import Records
import Statistics
import Units

/// A map in gnuplot's language (version 5.2 and later): a row of panels and one legend.
struct AttentionMapScript {
  let text: String

  /// Ten samples of viridis (Smith and van der Walt, 2015, CC0): uniform to the eye, and told apart
  /// with every common colour blindness and in grey.
  private static let palette = [
    "440154", "482878", "3E4A89", "31688E", "26828E", "1F9E89", "35B779", "6DCD59", "B4DE2C",
    "FDE725",
  ]

  /// The longer side of a panel, in points of an SVG picture.
  private static let side = 300.0
  private static let margin = (left: 66.0, gap: 34.0, right: 120.0, top: 112.0)

  init(
    _ map: AttentionMap, title: String, subtitle: String, format: GnuplotScript.Format,
    output: String
  ) {
    let unit = Self.side / Double(max(map.queryLength, map.keyLength))
    // A cache of a thousand keys for one query is still to be seen.
    let panel = (
      width: max(48, unit * Double(map.keyLength)), height: max(48, unit * Double(map.queryLength))
    )
    let count = Double(map.panels.count)
    let width = max(
      Self.margin.left + count * panel.width + (count - 1) * Self.margin.gap + Self.margin.right,
      640)
    let notes = PlotText.wrapped(map.captions(), columns: Int(width / 6.2))
    let height = Self.margin.top + panel.height + 62 + 17 * Double(notes.count)
    let scale = AttentionScale(map)

    var lines = ["set encoding utf8", Self.terminal(format, width, height)]
    lines += ["set output \(PlotText.quoted(output))", "set datafile missing '?'"]
    for (index, panel) in map.panels.enumerated() { lines += Self.data(map, panel, index) }
    lines += [
      "set multiplot", "set palette defined (\(Self.colours))", "set logscale cb",
      "set cbrange [\(scale.low):\(scale.high)]", "unset colorbox",
      "set xrange [0:\(map.keyLength)]", "set yrange [\(map.queryLength):0]",
      "set border linecolor rgb '#606060'",
      "set tics out nomirror textcolor rgb '#303030' font ',10'",
    ]
    func label(_ text: String, _ x: Double, _ y: Double, _ size: Double, _ gray: String) -> String {
      "set label \(PlotText.quoted(text)) at screen \(x / width), screen \(1 - y / height) left "
        + "font ',\(size)' textcolor rgb '#\(gray)'"
    }
    lines += [
      label("{/:Bold \(PlotText.plain(title))}", 14, 22, 15, "000000"),
      label(PlotText.plain(subtitle), 14, 44, 11, "505050"),
    ]
    for (index, note) in notes.enumerated() {
      let y = height - 12 - 17 * Double(notes.count - 1 - index)
      lines.append(label(PlotText.plain(note), 14, y, 10.5, "606060"))
    }
    let (top, bottom) = (
      1 - Self.margin.top / height, 1 - (Self.margin.top + panel.height) / height
    )
    lines += ["set tmargin at screen \(top)", "set bmargin at screen \(bottom)"]
    for (index, drawn) in map.panels.enumerated() {
      let left = Self.margin.left + Double(index) * (panel.width + Self.margin.gap)
      let name = drawn.strategy.isEmpty ? "all keys" : drawn.strategy
      lines += [
        "set lmargin at screen \(left / width)",
        "set rmargin at screen \((left + panel.width) / width)",
        label(PlotText.plain(name), left, 78, 12, "000000"),
        label(PlotText.plain(map.headline(drawn)), left, 97, 11, "404040"),
        "set xlabel 'key' textcolor rgb '#303030' font ',11' offset 0,0.4",
        index == 0
          ? "set ylabel 'query' textcolor rgb '#303030' font ',11' offset 1.2,0" : "unset ylabel",
        index == 0 ? "set format y '%g'" : "set format y ''",
      ]
      if index == map.panels.count - 1 {
        lines += [
          "set colorbox user origin \((left + panel.width + 18) / width),\(bottom) "
            + "size \(14 / width),\(top - bottom)",
          "set cbtics (\(Self.ticks(scale))) font ',10'",
          "set cblabel \(PlotText.quoted("share of a query's attention")) font ',11' "
            + "textcolor rgb '#303030' offset 0.3,0",
        ]
      }
      let (x, y) = (
        "(($1+0.5)*\(Self.step(map.keyLength, map.columnCount)))",
        "(($2+0.5)*\(Self.step(map.queryLength, map.rowCount)))"
      )
      lines += ["plot $panel\(index) matrix using \(x):\(y):3 with image notitle", "unset label"]
    }
    text = (lines + ["unset multiplot", "set output", ""]).joined(separator: "\n")
  }

  private static func step(_ length: Int, _ cells: Int) -> Double {
    Double(length) / Double(cells)
  }

  private static var colours: String {
    palette.enumerated().map { "\($0) '#\($1)'" }.joined(separator: ", ")
  }

  private static func ticks(_ scale: AttentionScale) -> String {
    // A tick is a format: its percent sign is doubled.
    scale.decades.map { "'\($0 <= scale.low ? "≤ " : "")\(AttentionScale.percent($0))%' \($0)" }
      .joined(separator: ", ")
  }

  /// Values below the scale are drawn as its lowest.
  private static func data(
    _ map: AttentionMap, _ panel: AttentionMap.Panel, _ index: Int
  ) -> [String] {
    let scale = AttentionScale(map)
    let rows = (0..<map.rowCount).map { row in
      (0..<map.columnCount).map { column in
        map.value(panel, row: row, column: column)
          .map { String(format: "%.3g", max(scale.low, $0)) } ?? "NaN"
      }.joined(separator: " ")
    }
    return ["$panel\(index) << EOD"] + rows + ["EOD"]
  }

  private static func terminal(
    _ format: GnuplotScript.Format, _ width: Double, _ height: Double
  ) -> String {
    switch format {
    case .svg:
      "set terminal svg enhanced size \(Int(width)),\(Int(height)) dynamic font 'sans-serif,12' "
        + "background '#ffffff'"
    case .png:
      "set terminal pngcairo enhanced size \(Int(2 * width)),\(Int(2 * height)) "
        + "font 'sans-serif,12' fontscale 1.5 linewidth 2 background '#ffffff'"
    }
  }
}
