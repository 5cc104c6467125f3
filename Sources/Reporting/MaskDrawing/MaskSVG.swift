import Choosing
import Foundation
import Measuring
import Records
import Statistics
import Units

extension MaskGrid {
  /// Shades between empty and full.
  private static let shades = 16

  /// The grid as an SVG picture: a rectangle for each stretch of equal cells in a row.
  ///
  /// No background and a middle blue, so that it is legible on light and on dark pages.
  public func svg(title: String) -> String {
    let (left, top, side) = (24, 44, 640.0)
    let scale = side / Double(max(rowCount, columnCount))
    let (width, height) = (Double(columnCount) * scale, Double(rowCount) * scale)
    let cells = Markup.element(
      "g",
      [
        "transform": "translate(\(left) \(top)) scale(\(Self.number(scale)))", "fill": "#3d85c6",
        "shape-rendering": "crispEdges",
      ], (0..<rowCount).flatMap(rectangles))
    let frame = Markup.element(
      "rect",
      [
        "x": "\(left)", "y": "\(top)", "width": Self.number(width), "height": Self.number(height),
        "fill": "none", "stroke": "#808080",
      ])
    return Markup.element(
      "svg",
      [
        "xmlns": "http://www.w3.org/2000/svg", "width": "\(Int(width) + 2 * left)",
        "height": "\(Int(height) + top + left)", "font-family": "sans-serif", "font-size": "13",
        "fill": "#808080",
      ],
      [
        .element("title", title), .element("text", ["x": "\(left)", "y": "18"], title),
        .element(
          "text", ["x": "\(left)", "y": "36", "font-size": "11"], "keys \u{2192}   \(summary)"),
        .element(
          "text", ["transform": "translate(16 \(top)) rotate(90)", "font-size": "11"],
          "queries \u{2192}"),
        cells, frame,
      ].flatMap { [$0, .text("\n")] }
    ).source + "\n"
  }

  private func rectangles(_ row: Int) -> [Markup] {
    var rectangles: [Markup] = []
    var start = 0
    while start < columnCount {
      let shade = shade(row, start)
      var end = start + 1
      while end < columnCount, self.shade(row, end) == shade { end += 1 }
      if shade > 0 {
        let (x, y, width) = ("\(start)", "\(row)", "\(end - start)")
        let opacity = Self.number(Double(shade) / Double(Self.shades))
        rectangles += [
          .text("\n"),
          shade == Self.shades
            ? .element("rect", ["x": x, "y": y, "width": width, "height": "1"])
            : .element(
              "rect",
              ["x": x, "y": y, "width": width, "height": "1", "fill-opacity": opacity]),
        ]
      }
      start = end
    }
    return rectangles
  }

  /// 0 for empty cells alone, so that a single pair of a large block still shows.
  private func shade(_ row: Int, _ column: Int) -> Int {
    Int((share(row: row, column: column) * Float(Self.shades)).rounded(.up))
  }

  private static func number(_ value: Double) -> String {
    // Four decimals, without the zeros that end them.
    let digits = String(format: "%.4f", value).reversed().drop { $0 == "0" }
    return String((digits.first == "." ? digits.dropFirst() : digits).reversed())
  }
}
