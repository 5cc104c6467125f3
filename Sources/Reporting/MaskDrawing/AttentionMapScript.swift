import Choosing
import Foundation
import Measuring
import Records
import Statistics
import Units

/// Maps in gnuplot's language (version 5.2 and later): panels and one legend.
struct AttentionMapScript {
  let text: String

  /// Ten samples of viridis (Smith and van der Walt, 2015, CC0): uniform to the eye, and told apart
  /// with every common colour blindness and in grey.
  private static let palette = [
    "440154", "482878", "3E4A89", "31688E", "26828E", "1F9E89", "35B779", "6DCD59", "B4DE2C",
    "FDE725",
  ]

  /// Points between a panel and its frame, which covers none of its pixels: the first keys, which
  /// sinks are, lie at the very edge.
  private static let gap = 2.5

  /// One head.
  init(
    _ map: AttentionMap, title: String, subtitle: String, format: GnuplotScript.Format,
    output: String
  ) {
    self.init(
      MapSheet(map), map, AttentionScale([map]), map.captions(), title: title, subtitle: subtitle,
      format: format, output: output)
  }

  /// All heads.
  init(
    _ heads: HeadMaps, title: String, subtitle: String, format: GnuplotScript.Format,
    output: String
  ) {
    let map = heads.maps[0]
    let axes =
      "each map: queries 0 to \(map.queryLength - 1) downwards, keys 0 to \(map.keyLength - 1) to "
      + "the right"
    self.init(
      MapSheet(heads), map, AttentionScale(heads.maps), [axes] + heads.captions(), title: title,
      subtitle: subtitle, format: format, output: output)
  }

  private init(
    _ sheet: MapSheet, _ map: AttentionMap, _ scale: AttentionScale, _ captions: [String],
    title: String, subtitle: String, format: GnuplotScript.Format, output: String
  ) {
    let width = max(sheet.right + MapSheet.legend, 640, 28 + 9 * Double(title.count))
    let notes = PlotText.wrapped(captions, columns: Int(width / 6.2))
    let height = sheet.bottom + (sheet.hasTicks ? 62 : 24) + 17 * Double(notes.count)
    let page = Page(width: width, height: height)

    var lines = ["set encoding utf8", Self.terminal(format, width, height)]
    lines += ["set output \(PlotText.quoted(output))", "set datafile missing '?'"]
    for (index, tile) in sheet.tiles.enumerated() {
      lines += Self.data(map, tile.panel, scale, index)
    }
    lines += [
      "set multiplot", "set palette defined (\(Self.colours))", "set logscale cb",
      "set cbrange [\(scale.low):\(scale.high)]", "unset colorbox",
      "set xrange [0:\(map.keyLength)]", "set yrange [\(map.queryLength):0]", "unset border",
      sheet.hasTicks
        ? "set tics out nomirror textcolor rgb '#303030' font ',10'" : "unset tics",
      page.label("{/:Bold \(PlotText.plain(title))}", 14, 22, 15, "000000"),
      page.label(PlotText.plain(subtitle), 14, 44, 11, "505050"),
    ]
    for (index, note) in notes.enumerated() {
      let y = height - 12 - 17 * Double(notes.count - 1 - index)
      lines.append(page.label(PlotText.plain(note), 14, y, 10.5, "606060"))
    }
    for heading in sheet.headings {
      lines.append(
        page.label("{/:Bold \(PlotText.plain(heading.text))}", 14, heading.y, 12, "000000"))
    }
    for (index, tile) in sheet.tiles.enumerated() {
      let isFirst = index == 0
      lines += page.place(tile, sheet.size)
      lines += Self.names(tile, sheet, page)
      if sheet.hasTicks {
        let isLeft = tile.x <= MapSheet.left
        lines += [
          "set xlabel 'key' textcolor rgb '#303030' font ',11' offset 0,0.4",
          isLeft
            ? "set ylabel 'query' textcolor rgb '#303030' font ',11' offset 1.2,0" : "unset ylabel",
          isLeft ? "set format y '%g'" : "set format y ''",
        ]
      }
      if isFirst {
        let (x, top) = (sheet.right + 18, 1 - tile.y / height)
        lines += [
          "set colorbox user origin \(x / width),\(top - sheet.size.height / height) "
            + "size \(14 / width),\(sheet.size.height / height)",
          "set cbtics (\(Self.ticks(scale))) font ',10' textcolor rgb '#303030'",
          "set cblabel \(PlotText.quoted("share of a query's attention")) font ',11' "
            + "textcolor rgb '#303030' offset 0.3,0",
        ]
      }
      let (x, y) = (
        "(($1+0.5)*\(Self.step(map.keyLength, map.columnCount)))",
        "(($2+0.5)*\(Self.step(map.queryLength, map.rowCount)))"
      )
      lines += [
        "plot $panel\(index) matrix using \(x):\(y):3 with image notitle", "unset label",
        "unset object",
      ]
      if isFirst { lines += ["unset colorbox", "unset cblabel"] }
    }
    text = (lines + ["unset multiplot", "set output", ""]).joined(separator: "\n")
  }

  /// A panel's names, its frame and, where a strategy keeps a share, a bar as long as that: colours of
  /// a logarithmic scale do not tell how much is gone.
  private static func names(_ tile: MapSheet.Tile, _ sheet: MapSheet, _ page: Page) -> [String] {
    let (width, height) = (sheet.size.width, sheet.size.height)
    var lines = [
      page.rectangle(
        1, tile.x - gap, tile.y - gap, width + 2 * gap, height + 2 * gap,
        "fillstyle empty border rgb '#909090'")
    ]
    let isLarge = sheet.hasTicks
    let rise = isLarge ? 34.0 : tile.subtitle.isEmpty ? 13 : 25
    lines.append(
      page.label(
        PlotText.plain(tile.title), tile.x, tile.y - rise, isLarge ? 12 : 10, "000000"))
    if !tile.subtitle.isEmpty {
      lines.append(
        page.label(
          PlotText.plain(tile.subtitle), tile.x, tile.y - (isLarge ? 16 : 13), isLarge ? 11 : 8.5,
          "404040"))
    }
    guard tile.panel.content != .attention else { return lines }
    let share = min(1, max(0, tile.panel.share))
    for (number, part, colour) in [(2, 1.0, "#d8d8d8"), (3, share, "#3d85c6")] where part > 0 {
      lines.append(
        page.rectangle(
          number, tile.x, tile.y - 6.5, width * part, 2.5,
          "fillstyle solid noborder fillcolor rgb '\(colour)'"))
    }
    return lines
  }

  /// Places on a picture, from points at its top left to gnuplot's shares of the screen.
  private struct Page {
    let width: Double
    let height: Double

    func label(
      _ text: String, _ x: Double, _ y: Double, _ size: Double, _ gray: String
    ) -> String {
      "set label \(PlotText.quoted(text)) at screen \(x / width), screen \(1 - y / height) left "
        + "font ',\(size)' textcolor rgb '#\(gray)'"
    }

    func rectangle(
      _ number: Int, _ x: Double, _ y: Double, _ width: Double, _ height: Double, _ look: String
    ) -> String {
      "set object \(number) rectangle from screen \(x / self.width), screen "
        + "\(1 - (y + height) / self.height) to screen \((x + width) / self.width), screen "
        + "\(1 - y / self.height) front \(look)"
    }

    func place(_ tile: MapSheet.Tile, _ size: (width: Double, height: Double)) -> [String] {
      [
        "set lmargin at screen \(tile.x / width)",
        "set rmargin at screen \((tile.x + size.width) / width)",
        "set tmargin at screen \(1 - tile.y / height)",
        "set bmargin at screen \(1 - (tile.y + size.height) / height)",
      ]
    }
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
    _ map: AttentionMap, _ panel: AttentionMap.Panel, _ scale: AttentionScale, _ index: Int
  ) -> [String] {
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
