import Choosing
import Foundation
import Records
import Units

/// What was chosen for a model as one SVG picture: the trade-off of error and speed-up, and a map of
/// layers and heads of the pairs kept and of the error.
///
/// No background and middle tones, so that it is legible on light and on dark pages.
public struct ModelChoicePicture {
  private let choice: ModelChoice
  private let title: String
  /// Whether the square of the total error is a loss in nats.
  private let hasSensitivities: Bool

  /// - Parameters:
  ///   - title: the file and the model.
  ///   - hasSensitivities: whether the weights of the layers are nats, so that the square of the total
  ///     error is a loss.
  public init(_ choice: ModelChoice, title: String, hasSensitivities: Bool) {
    self.choice = choice
    self.title = title
    self.hasSensitivities = hasSensitivities
  }

  private static let width = 720.0
  private static let chart = (left: 64.0, right: 700.0, top: 60.0, bottom: 300.0)
  private static let mapTop = 376.0

  /// The picture.
  public var svg: String {
    let cell = self.cell
    let height = Self.mapTop + cell * Double(choice.layers.count) + 40
    let drawing = Markup.element(
      "svg",
      [
        "xmlns": "http://www.w3.org/2000/svg", "width": Self.number(Self.width),
        "height": Self.number(height), "font-family": "sans-serif", "font-size": "12",
        "fill": "#808080",
      ],
      [
        .element("title", title),
        Self.text(title, 16, 22, size: 14),
      ] + curve + maps(cell))
    return drawing.source + "\n"
  }

  // MARK: The trade-off

  private func loss(_ point: ModelChoice.Point) -> Double {
    hasSensitivities ? point.squaredError : point.totalError
  }

  private var curve: [Markup] {
    let points = (choice.curve + [choice.chosen].compactMap { $0 }).filter { loss($0) > 0 }
    let frame = Self.chart
    var parts = [
      Self.line(frame.left, frame.bottom, frame.right, frame.bottom),
      Self.line(frame.left, frame.top, frame.left, frame.bottom),
      Self.text(
        (hasSensitivities ? "predicted increase of the loss, nats" : "total error")
          + " \u{2192}; upwards: times as fast as \(choice.baseline)", frame.left, 48),
    ]
    guard let least = points.map(loss).min(), let most = points.map(loss).max(),
      let fastest = points.map(\.speedup).max()
    else { return parts + [Self.text("nothing is faster", frame.left + 20, 120)] }
    let decades = (Int(log10(least).rounded(.down)), Int(log10(most).rounded(.up)))
    let span = Double(max(decades.1 - decades.0, 1))
    func x(_ value: Double) -> Double {
      frame.left + (frame.right - frame.left) * (log10(value) - Double(decades.0)) / span
    }
    let top = max(fastest, 1.2) * 1.05
    func y(_ speedup: Double) -> Double {
      frame.bottom - (frame.bottom - frame.top) * log(max(speedup, 1)) / log(top)
    }
    for decade in decades.0...max(decades.1, decades.0) {
      let value = pow(10, Double(decade))
      parts.append(Self.line(x(value), frame.bottom, x(value), frame.bottom + 4))
      parts.append(
        Self.text(String(format: "%g", value), x(value), frame.bottom + 18, anchor: "middle"))
    }
    let marks = top > 5 ? [1, 2, 5, 10, 20, 50, 100, 200, 500] : [1, 1.2, 1.5, 2, 3, 4, 5]
    for speedup in marks where speedup <= top {
      parts.append(Self.line(frame.left - 4, y(speedup), frame.left, y(speedup)))
      parts.append(
        Self.text(String(format: "%g", speedup), frame.left - 8, y(speedup) + 4, anchor: "end"))
    }
    let path = choice.curve.filter { loss($0) > 0 }
      .map { "\(Self.number(x(loss($0)))),\(Self.number(y($0.speedup)))" }.joined(separator: " ")
    parts.append(
      .element(
        "polyline",
        ["points": path, "fill": "none", "stroke": "#3d85c6", "stroke-width": "2"]))
    for point in choice.curve where loss(point) > 0 {
      parts.append(dot(point, x(loss(point)), y(point.speedup), 3, "#3d85c6"))
    }
    if let chosen = choice.chosen, loss(chosen) > 0 {
      parts.append(dot(chosen, x(loss(chosen)), y(chosen.speedup), 6, "#e06c00"))
    }
    return parts
  }

  private func dot(
    _ point: ModelChoice.Point, _ x: Double, _ y: Double, _ radius: Double, _ colour: String
  ) -> Markup {
    .element(
      "circle",
      ["cx": Self.number(x), "cy": Self.number(y), "r": Self.number(radius), "fill": colour],
      [
        .element(
          "title",
          "limit \(String(format: "%.3g", point.limit)): total error "
            + String(format: "%.3g, %.2f times as fast", point.totalError, point.speedup)
            + ", \(CellText.percent(point.pairsShare)) of the pairs")
      ])
  }

  // MARK: The maps

  private var headCount: Int { choice.layers.map(\.heads.count).max() ?? 1 }

  private var cell: Double {
    max(4, min(24, 290 / Double(headCount), 600 / Double(max(choice.layers.count, 1))))
  }

  private func maps(_ cell: Double) -> [Markup] {
    let worst = choice.layers.flatMap(\.heads).map(\.squaredError).max() ?? 0
    return map(
      "pairs kept: dark is all", left: 64, cell, colour: "#3d85c6", shade: \.pairsShare
    )
      + map(
        "error: dark is \(CellText.error(worst.squareRoot())) of the layer's norm", left: 410, cell,
        colour: "#e06c00"
      ) { worst > 0 ? ($0.squaredError / worst).squareRoot() : 0 }
  }

  private func map(
    _ name: String, left: Double, _ cell: Double, colour: String,
    shade: (ModelChoice.Head) -> Double
  ) -> [Markup] {
    var parts = [
      Self.text(name, left, Self.mapTop - 24),
      Self.text("heads \u{2192}, layers \u{2193}", left, Self.mapTop - 8, size: 11),
    ]
    for (row, layer) in choice.layers.enumerated() {
      let y = Self.mapTop + Double(row) * cell
      if cell >= 11 || row.isMultiple(of: 5) {
        parts.append(
          Self.text("\(layer.number)", left - 6, y + cell / 2 + 4, size: 10, anchor: "end"))
      }
      for (head, chosen) in layer.heads.enumerated() {
        parts.append(
          .element(
            "rect",
            [
              "x": Self.number(left + Double(head) * cell), "y": Self.number(y),
              "width": Self.number(cell), "height": Self.number(cell), "fill": colour,
              "fill-opacity": Self.number(min(1, max(0, shade(chosen)))), "stroke": "#808080",
              "stroke-width": "0.5",
            ],
            [
              .element(
                "title",
                "layer \(layer.number), head \(head): \(chosen.strategy), error "
                  + "\(CellText.error(max(0, chosen.squaredError).squareRoot())), "
                  + "\(CellText.percent(chosen.pairsShare)) of the pairs")
            ]))
      }
    }
    return parts
  }

  private static func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double) -> Markup {
    .element(
      "line",
      [
        "x1": number(x1), "y1": number(y1), "x2": number(x2), "y2": number(y2),
        "stroke": "#808080",
      ])
  }

  private static func text(
    _ content: String, _ x: Double, _ y: Double, size: Int = 12, anchor: String = "start"
  ) -> Markup {
    .element(
      "text",
      ["x": number(x), "y": number(y), "font-size": "\(size)", "text-anchor": anchor], content)
  }

  private static func number(_ value: Double) -> String { String(format: "%.2f", value) }
}
