import Choosing
import Foundation
import Measuring
import Records
import Statistics
import Units

/// A figure as SVG inside a page, with its legend and notes in HTML.
///
/// Colours come from the page's style sheet, so one drawing serves light and dark pages, and the
/// legend is text that wraps on a phone.
struct Chart {
  private let figure: Figure
  private let scale: ChartScale
  /// Where its tensors came from; nil for random ones. The page says what all its charts share, but a
  /// chart may be cut out of it.
  private let source: String?

  init(_ figure: Figure, source: String? = nil) {
    self.figure = figure
    self.source = source
    scale = ChartScale(figure)
  }

  /// The figure with its caption.
  var markup: Markup {
    let caption = Markup.element(
      "figcaption", [:],
      [.element("h3", figure.title), .element("p", ["class": "axis"], figure.yLabel)]
        + (source.map { [.element("p", ["class": "small"], $0)] } ?? []))
    let notes = figure.notes.map { Markup.element("li", $0) }
    return .element(
      "figure", ["class": "card"],
      [caption, drawing, legend]
        + (notes.isEmpty ? [] : [.element("ul", ["class": "notes"], notes)]))
  }

  private var drawing: Markup {
    let size = ChartScale.size
    return .element(
      "svg",
      [
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": "0 0 \(Int(size.width)) \(Int(size.height))",
        "role": "img", "aria-label": "\(figure.title): \(figure.yLabel) against \(figure.xLabel)",
      ],
      grid + figure.guides.flatMap(guide) + figure.curves.flatMap(curve) + startLabels + pointLabels
    )
  }

  private var grid: [Markup] {
    let frame = ChartScale.frame
    var parts: [Markup] = []
    for tick in scale.yTicks {
      let y = scale.vertical(tick.value)
      parts.append(line(frame.left, y, frame.right, y, "grid"))
      parts.append(text(tick.text, frame.left - 6, y + 3.8, "tick end"))
    }
    for tick in scale.xTicks {
      let x = scale.horizontal(tick.value)
      parts.append(line(x, frame.top, x, frame.bottom, "grid"))
      if !tick.text.isEmpty { parts.append(text(tick.text, x, frame.bottom + 18, "tick middle")) }
    }
    parts.append(line(frame.left, frame.bottom, frame.right, frame.bottom, "frame"))
    parts.append(line(frame.left, frame.top, frame.left, frame.bottom, "frame"))
    let middle = (frame.left + frame.right) / 2
    return parts + [text(figure.xLabel, middle, frame.bottom + 37, "tick middle")]
  }

  private func guide(_ guide: Figure.Guide) -> [Markup] {
    guard let ends = guide.ends(in: scale.x, scale.y) else { return [] }
    let (x, y) = (scale.horizontal(ends.to.x), scale.vertical(ends.to.y))
    let drawn = line(
      scale.horizontal(ends.from.x), scale.vertical(ends.from.y), x, y, "guide")
    // A rising line's name stands on the side without curves.
    // Points stand on an edge, and their lines above it.
    let isEdge = guide.power == 0 && guide.factor == figure.edge?.value
    let place =
      guide.power == 2 ? (x - 16, y + 10) : guide.power == 1 || isEdge ? (x, y + 14) : (x, y - 5)
    return [drawn, text(guide.label, place.0, place.1, "tick end")]
  }

  private func curve(_ curve: Figure.Curve) -> [Markup] {
    let places = curve.points.map { (scale.horizontal($0.x), scale.vertical($0.value)) }
    let path = places.map { Self.pair($0.0, $0.1) }.joined(separator: " ")
    if curve.mark == .line {
      return [.element("polyline", ["class": "front", "points": path])]
    }
    var parts: [Markup] = []
    if curve.mark == .joinedPoints, places.count > 1 {
      parts.append(
        .element("polyline", ["class": "line d\(min(curve.style.variant, 3))", "points": path]))
    }
    for (point, place) in zip(curve.points, places) {
      if point.low < point.high {
        parts.append(
          line(place.0, scale.vertical(point.low), place.0, scale.vertical(point.high), "bar"))
      }
      parts.append(
        .element(
          "path",
          ["class": Self.pointClass(curve.style), "d": Self.shape(curve.style, place.0, place.1)],
          [.element("title", tip(curve, point))]))
    }
    return [.element("g", ["class": "c\(Self.colour(curve.style))"], parts + predicted(curve))]
  }

  /// Sizes that were not run: open symbols on a dotted line from the last measured point.
  private func predicted(_ curve: Figure.Curve) -> [Markup] {
    if curve.predicted.isEmpty { return [] }
    let path = curve.predictedLine.map {
      Self.pair(scale.horizontal($0.x), scale.vertical($0.value))
    }
    let line = Markup.element(
      "polyline", ["class": "line predicted", "points": path.joined(separator: " ")])
    let marks = curve.predicted.flatMap { point -> [Markup] in
      let (x, y) = (scale.horizontal(point.x), scale.vertical(point.value))
      return [
        self.line(x, scale.vertical(point.low), x, scale.vertical(point.high), "bar"),
        .element(
          "path", ["class": "point open", "d": Self.shape(curve.style, x, y)],
          [.element("title", "predicted, not measured: \(tip(curve, point))")]),
      ]
    }
    return [line] + marks
  }

  /// Names at the first points of curves, as many as have room, the last one first.
  private var startLabels: [Markup] {
    var labels: [Markup] = []
    var taken: [(x: Double, y: Double)] = []
    for curve in figure.curves.reversed() {
      guard !curve.startLabel.isEmpty, let first = curve.points.first else { continue }
      let (x, y) = (scale.horizontal(first.x), scale.vertical(first.value) + 14)
      if taken.contains(where: { abs($0.x - x) < 28 && abs($0.y - y) < 11 }) { continue }
      taken.append((x, y))
      labels.append(text(curve.startLabel, x - 1, y, "tick small end"))
    }
    return labels
  }

  private func tip(_ curve: Figure.Curve, _ point: Figure.Point) -> String {
    let place = point.place.map { ", " + scale.horizontalText($0) } ?? ""
    let value = point.atEdge.map { "\(scale.text($0)), rounding" } ?? scale.text(point.value)
    return "\(curve.label), n = \(point.n)\(place): \(value)"
  }

  private var pointLabels: [Markup] {
    func place(_ point: Figure.Point) -> (x: Double, y: Double) {
      (scale.horizontal(point.x), scale.vertical(point.value))
    }
    return PointLabels(figure, width: 5.4, height: 11, place: place).placed.map { label in
      let (x, y) = place(label.point)
      // At the right edge a name goes to the left of its point, where there is room for it.
      let isAtEnd = x + 6 * Double(label.text.count) > ChartScale.size.width
      return text(
        label.text, isAtEnd ? x - 4 : x + 4, y - 5, isAtEnd ? "tick small end" : "tick small")
    }
  }

  private func line(
    _ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ style: String
  ) -> Markup {
    .element(
      "line",
      [
        "class": style, "x1": Self.number(x1), "y1": Self.number(y1), "x2": Self.number(x2),
        "y2": Self.number(y2),
      ])
  }

  private func text(_ content: String, _ x: Double, _ y: Double, _ style: String) -> Markup {
    .element("text", ["class": style, "x": Self.number(x), "y": Self.number(y)], content)
  }
}

extension Chart {
  private var legend: Markup {
    var groups: [(name: String, items: [Markup])] = []
    for curve in figure.curves where curve.isListed && curve.mark != .line {
      if groups.last?.name != curve.group { groups.append((curve.group, [])) }
      groups[groups.count - 1].items.append(item(curve))
    }
    return .element(
      "div", ["class": "legend"],
      groups.map { group in
        .element(
          "div", [:],
          [.element("b", group.name), .element("ul", [:], group.items)])
      })
  }

  private func item(_ curve: Figure.Curve) -> Markup {
    let style = curve.style
    var swatch: [Markup] = []
    if curve.mark == .joinedPoints {
      swatch.append(
        .element(
          "line",
          ["class": "line d\(min(style.variant, 3))", "x1": "1", "y1": "6", "x2": "23", "y2": "6"]))
    }
    swatch.append(
      .element("path", ["class": Self.pointClass(style), "d": Self.shape(style, 12, 6)]))
    let power = curve.exponent.map { exponent in
      [.text(" n"), Markup.element("sup", String(format: "%.2f", exponent))]
    }
    return .element(
      "li", [:],
      [
        .element(
          "svg",
          [
            "xmlns": "http://www.w3.org/2000/svg", "viewBox": "0 0 24 12", "aria-hidden": "true",
            "class": "c\(Self.colour(style))",
          ], swatch),
        .text(curve.label),
      ] + (power.map { [.element("span", ["class": "muted"], $0)] } ?? []))
  }

  /// Colours of the style sheet: as many as the palette of pictures has.
  private static func colour(_ style: CurveStyle) -> Int { style.colour }

  private static func pointClass(_ style: CurveStyle) -> String {
    style.variant == 0 ? "point" : "point open"
  }

  /// The outline of a strategy's symbol, the same as in pictures: circle, square, triangle up and
  /// down, diamond, pentagon.
  private static func shape(_ style: CurveStyle, _ x: Double, _ y: Double) -> String {
    func polygon(_ corners: [(Double, Double)]) -> String {
      "M" + corners.map { pair(x + $0.0, y + $0.1) }.joined(separator: "L") + "Z"
    }
    switch style.symbol {
    case 0:
      return "M\(pair(x - 3.4, y))a3.4 3.4 0 1 0 6.8 0a3.4 3.4 0 1 0 -6.8 0Z"
    case 1: return polygon([(-3, -3), (3, -3), (3, 3), (-3, 3)])
    case 2: return polygon([(0, -4), (3.7, 2.6), (-3.7, 2.6)])
    case 3: return polygon([(0, 4), (3.7, -2.6), (-3.7, -2.6)])
    case 4: return polygon([(0, -4.3), (4.3, 0), (0, 4.3), (-4.3, 0)])
    default: return polygon([(0, -4), (3.8, -1.2), (2.4, 3.2), (-2.4, 3.2), (-3.8, -1.2)])
    }
  }

  private static func pair(_ x: Double, _ y: Double) -> String { "\(number(x)) \(number(y))" }

  private static func number(_ value: Double) -> String { String(format: "%.1f", value) }
}
