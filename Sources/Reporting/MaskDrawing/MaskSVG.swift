import Choosing
import Foundation
import Measuring
import Records
import Statistics
import Units

extension MaskGrid {
  /// Shades between empty and full.
  private static let shades = 32
  /// The shade of cells that hold a pair, however few: a fainter one would not be seen.
  private static let faintest = 2

  /// Pixels between the cells and the frame, so that the frame covers no cell: the first keys, which
  /// sinks are, lie at the very edge.
  private static let gap = 3
  /// Pixels of a cell's side at least: one pixel beside a frame is overlooked.
  private static let smallestCell = 2

  /// The grid as an SVG picture: a rectangle for each stretch of equal cells in a row.
  ///
  /// A cell is as opaque as its share of kept pairs, to 1/32, and spans whole pixels, so that the ink
  /// of the picture is the share that is printed. No background and a middle blue, so that it is
  /// legible on light and on dark pages.
  public func svg(title: String) -> String {
    let (left, top) = (24, 44)
    let scale = max(Self.smallestCell, 640 / max(rowCount, columnCount))
    let (width, height) = (columnCount * scale, rowCount * scale)
    let legendTop = top + height + Self.gap + 12
    let head: [Markup] = [
      .element("title", title), .element("text", ["x": "\(left)", "y": "18"], title),
      .element(
        "text", ["x": "\(left)", "y": "36", "font-size": "11"], "keys \u{2192}   \(summary)"),
      .element(
        "text", ["transform": "translate(10 \(top)) rotate(90)", "font-size": "11"],
        "queries \u{2192}"),
    ]
    var content = head.flatMap { [$0, .text("\n")] }
    content += drawing(left, top, scale: scale)
    content += [legend(left, legendTop), .text("\n")]
    return Markup.element(
      "svg",
      [
        "xmlns": "http://www.w3.org/2000/svg",
        "width": "\(max(width + 2 * left, left + 7 * max(title.count, summary.count)))",
        "height": "\(legendTop + 28)", "font-family": "sans-serif", "font-size": "13",
        "fill": "#808080",
      ], content
    ).source + "\n"
  }

  /// The cells and their frame.
  ///
  /// - Parameter scale: pixels of a cell's side.
  func drawing(_ left: Int, _ top: Int, scale: Int) -> [Markup] {
    let cells = Markup.element(
      "g",
      [
        "transform": "translate(\(left) \(top)) scale(\(scale))", "fill": "#3d85c6",
        "shape-rendering": "crispEdges",
      ], (0..<rowCount).flatMap(rectangles))
    let frame = Markup.element(
      "rect",
      [
        "x": "\(left - Self.gap)", "y": "\(top - Self.gap)",
        "width": "\(columnCount * scale + 2 * Self.gap)",
        "height": "\(rowCount * scale + 2 * Self.gap)", "fill": "none", "stroke": "#808080",
      ])
    return [cells, .text("\n"), frame, .text("\n")]
  }

  /// What the shades stand for.
  func legend(_ left: Int, _ top: Int) -> Markup {
    let steps = isExact ? [0, Self.shades] : [0, 8, 16, 24, Self.shades]
    var x = left
    let boxes = steps.flatMap { step -> [Markup] in
      let name =
        isExact ? (step == 0 ? "hidden" : "kept") : "\(100 * step / Self.shades)%"
      let box = Markup.element(
        "rect",
        [
          "x": "\(x)", "y": "\(top)", "width": "12", "height": "12", "fill": "#3d85c6",
          "fill-opacity": Self.opacity(step), "stroke": "#808080",
        ])
      let text = Markup.element("text", ["x": "\(x + 17)", "y": "\(top + 10)"], name)
      x += 30 + 7 * name.count
      return [box, text]
    }
    let meaning =
      isExact
      ? "one cell: one query and one key"
      : "of the pairs of a cell are kept (\(Self.blockText(queryLength, rowCount)) queries x "
        + "\(Self.blockText(keyLength, columnCount)) keys); any at all show as "
        + "\(SignificantDigits.three(100 * Double(Self.faintest) / Double(Self.shades)))% at least"
    return .element(
      "g", ["font-size": "11"],
      boxes + [.element("text", ["x": "\(x)", "y": "\(top + 10)"], meaning)])
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
        let opacity = Self.opacity(shade)
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

  /// The nearest shade; empty and full are kept for cells that are.
  private func shade(_ row: Int, _ column: Int) -> Int {
    let share = share(row: row, column: column)
    if share <= 0 { return 0 }
    if share >= 1 { return Self.shades }
    let nearest = Int((share * Float(Self.shades)).rounded())
    return min(max(nearest, Self.faintest), Self.shades - 1)
  }

  private static func opacity(_ shade: Int) -> String {
    String(format: "%g", Double(shade) / Double(shades))
  }
}
