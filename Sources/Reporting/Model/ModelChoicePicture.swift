import Choosing
import Foundation
import Records
import Units

/// What was chosen for a model as one SVG picture: the trade-off of error and speed-up, and maps of
/// layers and heads of what was chosen and of the error.
///
/// No background and middle tones, so that it is legible on light and on dark pages.
public struct ModelChoicePicture {
  let model: DrawnModel
  /// Measured losses to draw beside the predicted ones.
  let evaluations: [ModelEvaluation]

  /// - Parameters:
  ///   - title: the file and the model.
  ///   - hasSensitivities: whether the weights of the layers are nats, so that the square of the total
  ///     error is a loss.
  public init(_ choice: ModelChoice, title: String, hasSensitivities: Bool) {
    self.init(DrawnModel(choice, title: title, hasSensitivities: hasSensitivities), [])
  }

  init(_ model: DrawnModel, _ evaluations: [ModelEvaluation]) {
    self.model = model
    self.evaluations = evaluations
  }

  static let width = 720.0
  private static let chart = (left: 64.0, right: 700.0, top: 24.0, bottom: 264.0)

  /// Drawing with its height; its width is `width`.
  typealias Part = (content: [Markup], height: Double)

  /// The picture.
  public var svg: String {
    var y = 36.0
    var content = [Markup.element("title", model.title), Self.text(model.title, 16, 22, size: 14)]
    for part in [tradeOff, choiceMap, errorMap] {
      content.append(.element("g", ["transform": "translate(0 \(Self.number(y)))"], part.content))
      y += part.height + 16
    }
    return Self.drawing(content, height: y).source + "\n"
  }

  /// A picture of its own, which scales with the page around it.
  static func figure(_ part: Part, label: String) -> Markup {
    .element(
      "svg",
      [
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": "0 0 \(number(width)) \(number(part.height))", "role": "img",
        "aria-label": label, "font-family": "sans-serif", "font-size": "12", "fill": "#808080",
      ], part.content)
  }

  private static func drawing(_ content: [Markup], height: Double) -> Markup {
    .element(
      "svg",
      [
        "xmlns": "http://www.w3.org/2000/svg", "width": number(width), "height": number(height),
        "font-family": "sans-serif", "font-size": "12", "fill": "#808080",
      ], content)
  }

  // MARK: The trade-off

  static let (predictedColour, chosenColour, measuredColour) = ("#3d85c6", "#e06c00", "#2a9d6f")

  /// The speed-up that a measured loss belongs to.
  private var evaluatedSpeedup: Double? { model.timedSpeedup ?? model.chosen?.speedup }

  /// Speed-up against the predicted loss, the chosen point, and the losses that were measured of it.
  var tradeOff: Part {
    let points = (model.curve + [model.chosen].compactMap { $0 }).filter { model.loss($0) > 0 }
    let frame = Self.chart
    var parts = [
      Self.line(frame.left, frame.bottom, frame.right, frame.bottom),
      Self.line(frame.left, frame.top, frame.left, frame.bottom),
      Self.text(
        "\(model.lossName) \u{2192}; upwards: times as fast as \(model.baseline)", frame.left, 12),
    ]
    let height = frame.bottom + 60
    let measured = evaluatedSpeedup.map { speedup in evaluations.map { ($0, speedup) } } ?? []
    let losses =
      points.map(model.loss)
      + measured.flatMap { [$0.0.increase.mean, $0.0.increase.high ?? 0] }.filter { $0 > 0 }
    guard let least = losses.min(), let most = losses.max(),
      let fastest = (points.map(\.speedup) + measured.map { $0.1 }).max()
    else {
      return (
        parts + [Self.text("nothing is faster than \(model.baseline)", frame.left + 20, 120)],
        height
      )
    }
    let scale = Scale(least: least, most: most, fastest: fastest)
    parts += scale.ticks
    let path = model.curve.filter { model.loss($0) > 0 }
      .map { "\(Self.number(scale.x(model.loss($0)))),\(Self.number(scale.y($0.speedup)))" }
    parts.append(
      .element(
        "polyline",
        [
          "points": path.joined(separator: " "), "fill": "none", "stroke": Self.predictedColour,
          "stroke-width": "2",
        ]))
    for point in model.curve where model.loss(point) > 0 {
      parts.append(dot(point, scale, 3, Self.predictedColour))
    }
    if let chosen = model.chosen, model.loss(chosen) > 0 {
      parts.append(dot(chosen, scale, 6, Self.chosenColour))
    }
    parts += measured.flatMap { evaluated($0.0, $0.1, scale) }
    return (parts + key(hasMeasured: !measured.isEmpty), height)
  }

  /// The trade-off's places, both logarithmic.
  private struct Scale {
    let decades: (first: Int, last: Int)
    let top: Double

    init(least: Double, most: Double, fastest: Double) {
      let first = Int(log10(least).rounded(.down))
      decades = (first, max(Int(log10(most).rounded(.up)), first + 1))
      top = max(fastest, 1.2) * 1.05
    }

    func x(_ loss: Double) -> Double {
      let frame = ModelChoicePicture.chart
      let share =
        (log10(max(loss, 1e-300)) - Double(decades.first)) / Double(decades.last - decades.first)
      return frame.left + (frame.right - frame.left) * min(1, max(0, share))
    }

    func y(_ speedup: Double) -> Double {
      let frame = ModelChoicePicture.chart
      return frame.bottom - (frame.bottom - frame.top) * log(max(speedup, 1)) / log(top)
    }

    var ticks: [Markup] {
      let frame = ModelChoicePicture.chart
      var parts: [Markup] = []
      for decade in decades.first...decades.last {
        let value = pow(10, Double(decade))
        parts.append(ModelChoicePicture.line(x(value), frame.bottom, x(value), frame.bottom + 4))
        parts.append(
          ModelChoicePicture.text(
            String(format: "%g", value), x(value), frame.bottom + 18, anchor: "middle"))
      }
      let marks = top > 5 ? [1, 2, 5, 10, 20, 50, 100, 200, 500] : [1, 1.2, 1.5, 2, 3, 4, 5]
      for speedup in marks where speedup <= top {
        parts.append(ModelChoicePicture.line(frame.left - 4, y(speedup), frame.left, y(speedup)))
        parts.append(
          ModelChoicePicture.text(
            String(format: "%g", speedup), frame.left - 8, y(speedup) + 4, anchor: "end"))
      }
      return parts
    }
  }

  private func dot(
    _ point: DrawnModel.Point, _ scale: Scale, _ radius: Double, _ colour: String
  ) -> Markup {
    .element(
      "circle",
      [
        "cx": Self.number(scale.x(model.loss(point))), "cy": Self.number(scale.y(point.speedup)),
        "r": Self.number(radius), "fill": colour,
      ],
      [
        .element(
          "title",
          "limit \(String(format: "%.3g", point.limit)): total error "
            + String(format: "%.3g, %.2f times as fast", point.totalError, point.speedup)
            + ", \(CellText.percent(point.pairsShare)) of the pairs")
      ])
  }

  /// A measured loss: a diamond with its interval; at the left edge where it is no increase.
  private func evaluated(
    _ evaluation: ModelEvaluation, _ speedup: Double, _ scale: Scale
  ) -> [Markup] {
    let increase = evaluation.increase
    let (x, y) = (scale.x(increase.mean), scale.y(speedup))
    var parts: [Markup] = []
    if let low = increase.low, let high = increase.high {
      parts.append(
        Self.line(scale.x(low), y, scale.x(high), y, Self.measuredColour))
    }
    let corners = [(0.0, -6.0), (6, 0), (0, 6), (-6, 0)]
    let path = corners.map { "\(Self.number(x + $0.0)),\(Self.number(y + $0.1))" }
    parts.append(
      .element(
        "polygon",
        [
          "points": path.joined(separator: " "), "fill": Self.measuredColour,
          "stroke": Self.measuredColour,
        ],
        [
          .element(
            "title",
            "measured on \(evaluation.text), \(evaluation.n) tokens: loss increase "
              + Self.estimate(increase))
        ]))
    return parts
  }

  /// `+0.0144 (+0.0101 to +0.0188)`.
  static func estimate(_ value: ModelEvaluation.Estimate) -> String {
    let mean = String(format: "%+.4f", value.mean)
    guard let low = value.low, let high = value.high else { return mean }
    return mean + String(format: " (%+.4f to %+.4f)", low, high)
  }

  /// What the marks stand for.
  private func key(hasMeasured: Bool) -> [Markup] {
    var x = Self.chart.left
    let y = Self.chart.bottom + 46
    let entries = [
      (model.curve.isEmpty ? "" : "predicted", Self.predictedColour),
      (model.chosen == nil ? "" : "chosen, predicted", Self.chosenColour),
      (hasMeasured ? "chosen, measured with 95% interval" : "", Self.measuredColour),
    ]
    return entries.filter { !$0.0.isEmpty }.flatMap { name, colour -> [Markup] in
      defer { x += 34 + 6.4 * Double(name.count) }
      return [
        .element(
          "circle", ["cx": Self.number(x), "cy": Self.number(y - 4), "r": "4", "fill": colour]),
        Self.text(name, x + 10, y),
      ]
    }
  }

  // MARK: The maps

  private var headCount: Int { model.layers.map(\.heads.count).max() ?? 1 }

  /// A head's side: as large as the picture's width allows, and no larger than is read with ease.
  private var cell: Double {
    max(4, min(20, (Self.width - 80) / Double(headCount), 560 / Double(max(model.layers.count, 1))))
  }

  private static let families = [
    "#3d85c6", "#e06c00", "#2a9d6f", "#b45fb0", "#c9a400", "#c0504d", "#6f8f2f", "#5b5bd6",
  ]

  /// Families of strategies with their colours: what everything is compared with is grey.
  private var familyColours: [(name: String, count: Int, colour: String)] {
    let baseline = DrawnModel.family(of: model.baseline)
    var others = 0
    return model.families.map { family in
      if family.name == baseline { return (family.name, family.count, "#808080") }
      defer { others += 1 }
      return (family.name, family.count, Self.families[others % Self.families.count])
    }
  }

  /// A cell a head: the colour is the strategy's family, the shade the pairs that are kept.
  var choiceMap: Part {
    let colours = familyColours
    var x = 64.0
    let key = colours.flatMap { family -> [Markup] in
      let name = "\(family.name) x\(family.count)"
      defer { x += 34 + 7 * Double(name.count) }
      return [
        .element(
          "rect",
          ["x": Self.number(x), "y": "24", "width": "11", "height": "11", "fill": family.colour]),
        Self.text(name, x + 16, 34),
      ]
    }
    return map("chosen: colour by family, shade by the pairs kept, dark is all", key) { head, _ in
      let family = DrawnModel.family(of: head.strategy)
      return (
        colours.first { $0.name == family }?.colour ?? "#808080", 0.15 + 0.85 * head.pairsShare
      )
    }
  }

  /// A cell a head: what it adds to its layer's error.
  var errorMap: Part {
    let isByHead = model.layers.contains { $0.heads.contains { $0.squaredError != nil } }
    let worst = model.layers.flatMap { layer in layer.heads.map { Self.error($0, layer) ?? 0 } }
      .max()
    let name =
      (isByHead
        ? "error that each head adds: "
        : "error of each layer (a plan holds none of single heads): ")
      + "dark is \(CellText.error(worst ?? 0)) of the layer's norm"
    return map(name, []) { head, layer in
      guard let worst, worst > 0 else { return (Self.chosenColour, 0) }
      return (Self.chosenColour, (Self.error(head, layer) ?? 0) / worst)
    }
  }

  private static func error(_ head: DrawnModel.Head, _ layer: DrawnModel.Layer) -> Double? {
    head.squaredError?.squareRoot() ?? layer.relativeError
  }

  private func map(
    _ name: String, _ key: [Markup],
    look: (DrawnModel.Head, DrawnModel.Layer) -> (colour: String, shade: Double)
  ) -> Part {
    let (cell, left, top) = (self.cell, 64.0, key.isEmpty ? 40.0 : 60.0)
    var parts = [Self.text(name, left, 14)] + key
    parts.append(
      Self.text("heads \u{2192}, layers \u{2193}", left, top - 6, size: 11))
    for (row, layer) in model.layers.enumerated() {
      let y = top + Double(row) * cell
      if cell >= 11 || row.isMultiple(of: 5) {
        parts.append(
          Self.text("\(layer.number)", left - 6, y + cell / 2 + 4, size: 10, anchor: "end"))
      }
      for (number, head) in layer.heads.enumerated() {
        let (colour, shade) = look(head, layer)
        let error = Self.error(head, layer).map { ", error \(CellText.error($0))" } ?? ""
        parts.append(
          .element(
            "rect",
            [
              "x": Self.number(left + Double(number) * cell), "y": Self.number(y),
              "width": Self.number(cell), "height": Self.number(cell), "fill": colour,
              "fill-opacity": Self.number(min(1, max(0, shade))), "stroke": "#808080",
              "stroke-width": "0.5",
            ],
            [
              .element(
                "title",
                "layer \(layer.number), head \(number): \(head.strategy)\(error), "
                  + "\(CellText.percent(head.pairsShare)) of the pairs")
            ]))
      }
    }
    return (parts, top + cell * Double(model.layers.count) + 4)
  }

  private static func line(
    _ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ colour: String = "#808080"
  ) -> Markup {
    .element(
      "line",
      [
        "x1": number(x1), "y1": number(y1), "x2": number(x2), "y2": number(y2),
        "stroke": colour,
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
