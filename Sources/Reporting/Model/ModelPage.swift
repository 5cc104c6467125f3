import Attention
import Choosing
import Foundation
import Records
import Statistics
import Units

/// One self-contained HTML page about what was chosen for a model: no script, nothing loaded from
/// anywhere.
///
/// It has the trade-off of loss and speed-up, the maps of layers and heads, every layer, and what was
/// measured of the plan on texts.
public struct ModelPage {
  private let model: DrawnModel
  private let picture: ModelChoicePicture
  /// The model's name; nil where no file says.
  private let name: String?
  /// The file of tensors; nil where no file says.
  private let inputs: String?
  /// What the first lines say beside that.
  private let facts: [String]
  /// The layers' problems in words, each once.
  private let problems: [String]
  private let evaluations: [ModelEvaluation]

  /// A page of a file of either kind.
  ///
  /// - Parameters:
  ///   - path: names the file on the page and in errors.
  ///   - evaluations: of the plan that was chosen.
  /// - Throws: `ChoiceFileError` naming a head of a plan whose strategy is not known, `AttentionError`
  ///   for a problem that cannot be.
  public init(_ file: ModelFile, path: String, evaluations: [ModelEvaluation] = []) throws {
    switch file {
    case .choice(let record):
      (name, inputs) = (record.model, record.inputs)
      model = DrawnModel(
        record.result,
        title: [record.inputs, record.model].compactMap { $0 }.joined(separator: ": "),
        hasSensitivities: record.sensitivities != nil)
      facts = [
        "threads: \(record.threads) (\(record.bind))", "budget \(Self.short(record.budget)) s",
        record.sensitivities.map { "sensitivities of \($0)" } ?? "every layer weighs the same",
        record.result.wasInterrupted ? "interrupted before all was measured" : "",
      ].filter { !$0.isEmpty }
      problems = Self.shared(
        record.problems.map { "\(Self.sizes($0.problem)); \($0.attention)" })
    case .plan(let plan):
      (name, inputs) = (plan.model, plan.inputs)
      model = try DrawnModel(plan, path: path)
      facts =
        ["the plan \(path)"]
        + (plan.measured.map { ["threads: \($0.threads) (\($0.bind))", "kernels \($0.isa)"] } ?? [])
      problems = Self.shared(plan.layers.map { Self.sizes($0.problem) })
    }
    self.evaluations = evaluations
    picture = ModelChoicePicture(model, evaluations)
  }

  public var html: String {
    let title = "Attention of \(name ?? inputs ?? "a model")"
    let sections = [
      ("trade-off", "Loss against speed", tradeOff), ("heads", "Layers and heads", maps),
      ("layers", "Every layer", layers), ("texts", "Measured on texts", texts),
    ]
    return SectionedPage(title: title, headline: headline, sections: sections).html
  }

  private var headline: [Markup] {
    let heads = model.layers.reduce(0) { $0 + $1.heads.count }
    let what =
      ["\(model.layers.count) layers", "\(heads) heads"]
      + (inputs.map { ["tensors of \($0)"] } ?? [])
    var parts: [Markup] = [
      .element("p", ["class": "lead"], what.joined(separator: " · ")),
      .element("p", ["class": "muted"], facts.joined(separator: " · ")),
    ]
    parts += problems.map { .element("p", ["class": "muted"], $0) }
    return parts + verdict
  }

  /// The chosen point in a sentence.
  private var verdict: [Markup] {
    guard let chosen = model.chosen else {
      return [
        .element(
          "p",
          "No point was chosen: --max-total-error E, or with sensitivities --max-loss-increase X, "
            + "chooses one.")
      ]
    }
    let loss =
      model.hasSensitivities
      ? "a predicted increase of the loss of \(Self.short(chosen.squaredError)) nats"
      : "a total error of \(Self.short(chosen.totalError))"
    let timed =
      model.timedSpeedup.map { String(format: " Run in the same rounds it was %.2f times.", $0) }
      ?? ""
    return [
      .element(
        "p", [:],
        [
          .text("The plan's attention is predicted to be "),
          .element("b", String(format: "%.2f times", chosen.speedup)),
          .text(
            " as fast as \(model.baseline), with \(CellText.percent(chosen.pairsShare)) of its pairs, at "
              + "\(loss).\(timed)"),
        ])
    ]
  }

  // MARK: Sections

  private var tradeOff: [Markup] {
    let points = model.curve + (model.chosen.map { [$0] } ?? [])
    let figure = card(picture.tradeOff, "Speed-up against loss")
    guard !points.isEmpty else { return [figure] }
    let unique = points.reduce(into: [DrawnModel.Point]()) { kept, point in
      if !kept.contains(where: { $0.limit == point.limit }) { kept.append(point) }
    }.sorted { $0.limit < $1.limit }
    let columns: [(title: String, isNumber: Bool)] =
      [(title: "limit", isNumber: true), ("total error", true)]
      + (model.hasSensitivities ? [("predicted loss increase", true)] : [])
      + [
        ("attention", true), ("times as fast as \(model.baseline)", true), ("pairs kept", true),
        ("", false),
      ]
    let rows = unique.map { point -> Markup in
      let isChosen = point.limit == model.chosen?.limit
      let figures =
        [Self.short(point.limit), Self.short(point.totalError)]
        + (model.hasSensitivities ? [Self.short(point.squaredError)] : [])
        + [
          point.seconds.map { TimeSpan.rounded(seconds: $0) } ?? "",
          String(format: "%.2f", point.speedup),
          CellText.percent(point.pairsShare),
        ]
      return .element(
        "tr", [:],
        figures.map { .element("td", ["class": "num"], $0) }
          + [.element("td", isChosen ? "chosen" : "")])
    }
    let note =
      model.hasSensitivities
      ? "total error: root of the sum over layers of sensitivity × squared relative L2 error; its square "
        + "is the predicted increase of the loss. Times are those of attention, not of the model."
      : "total error: root of the sum over layers of the squared relative L2 error. Times are those of "
        + "attention, not of the model."
    let alone =
      model.curve.isEmpty
      ? " The file holds one point; what recommend --record writes holds the whole trade-off." : ""
    return [
      figure, .table(columns, rows),
      .element("p", ["class": "small"], note + alone),
    ]
  }

  private var maps: [Markup] {
    let strategies = model.strategies
    let rows = strategies.map { name, count in
      Markup.element(
        "tr", [:],
        [
          .element("th", ["scope": "row"], name),
          .element("td", ["class": "num"], "\(count)"),
        ])
    }
    return [
      .element(
        "div", ["class": "charts"],
        [
          card(picture.choiceMap, "What was chosen, by layer and head"),
          card(picture.errorMap, "Error, by layer and head"),
        ]),
      .element(
        "details", [:],
        [
          .element("summary", "All strategies (\(strategies.count))"),
          .table([(title: "strategy", isNumber: false), ("heads", true)], rows),
        ]),
    ]
  }

  private var layers: [Markup] {
    let hasTimes = model.layers.contains { $0.seconds != nil }
    let columns: [(title: String, isNumber: Bool)] =
      [
        (title: "layer", isNumber: true), ("strategies and heads", false), ("error", true),
        ("pairs kept", true),
      ] + (hasTimes ? [("time", true), (model.baseline, true)] : [])
    let rows = model.layers.map { layer -> Markup in
      let counts = layer.heads.reduce(into: [(name: String, count: Int)]()) { counts, head in
        if let place = counts.firstIndex(where: { $0.name == head.strategy }) {
          counts[place].count += 1
        } else {
          counts.append((head.strategy, 1))
        }
      }
      let text = counts.map { "\($0.name) x\($0.count)" }.joined(separator: ", ")
      let pairs =
        layer.heads.reduce(0) { $0 + $1.pairsShare } / Double(max(layer.heads.count, 1))
      func number(_ text: String) -> Markup { .element("td", ["class": "num"], text) }
      func time(_ seconds: Double?) -> Markup {
        number(seconds.map { TimeSpan.rounded(seconds: $0) } ?? "")
      }
      return .element(
        "tr", [:],
        [
          .element("th", ["scope": "row", "class": "num"], "\(layer.number)"),
          .element("td", ["style": "white-space: normal"], text),
          number(layer.relativeError.map { CellText.error($0) } ?? "not measured"),
          number(CellText.percent(pairs)),
        ] + (hasTimes ? [time(layer.seconds), time(layer.baselineSeconds)] : []))
    }
    return [
      .table(columns, rows),
      .element(
        "p", ["class": "small"],
        "error: relative L2 distance of the layer's output from full attention's."),
    ]
  }

  private var texts: [Markup] {
    guard !evaluations.isEmpty else {
      return [
        .element(
          "p", ["class": "muted"],
          "None was given. attnbench-model evaluate MODEL --plan PLAN --text FILE --json measures the "
            + "loss; --evaluation adds it here.")
      ]
    }
    let columns: [(title: String, isNumber: Bool)] = [
      (title: "text", isNumber: false), ("tokens", true), ("loss, full", true),
      ("with the plan", true),
      ("increase, 95%", true), ("predicted", true), ("prefill", true), ("decode step", true),
    ]
    let rows = evaluations.map { one -> Markup in
      let figures = [
        "\(one.n)", String(format: "%.4f", one.loss.full.mean),
        String(format: "%.4f", one.loss.plan.mean), ModelChoicePicture.estimate(one.increase),
        one.predictedIncrease.map { String(format: "%+.4f", $0) } ?? "",
        Self.speedup(one.prefill), Self.speedup(one.decodeStep),
      ]
      return .element(
        "tr", [:],
        [.element("th", ["scope": "row"], one.text)]
          + figures.map { .element("td", ["class": "num"], $0) })
    }
    return [
      .table(columns, rows),
      .element(
        "p", ["class": "small"],
        "increase: of the loss in nats a token, of paired differences; predicted: from the plan's errors, "
          + "which no text of this table is in; prefill and decode step: of the whole model, median of "
          + "full attention in PyTorch over that with the plan."),
    ] + strangers
  }

  /// What speaks against an evaluation being of this plan.
  private var strangers: [Markup] {
    if model.chosen == nil, model.timedSpeedup == nil {
      return [
        .element(
          "p", ["class": "small"],
          "They are not on the curve: no point of it was chosen, which they could belong to.")
      ]
    }
    guard let chosen = model.chosen, model.hasSensitivities else { return [] }
    let apart = evaluations.filter { one in
      guard let predicted = one.predictedIncrease, chosen.squaredError > 0 else { return false }
      return abs(predicted / chosen.squaredError - 1) > 0.1
    }
    if apart.isEmpty { return [] }
    return [
      .element(
        "ul", ["class": "warnings"],
        apart.map { one in
          .element(
            "li",
            "\(one.text): evaluated with \(one.plan), for which "
              + "\(Self.short(one.predictedIncrease ?? 0)) is predicted, not "
              + "\(Self.short(chosen.squaredError)): is it this plan?")
        })
    ]
  }

  // MARK: Texts

  private func card(_ part: ModelChoicePicture.Part, _ label: String) -> Markup {
    .element(
      "figure", ["class": "card"],
      [
        .element(
          "figcaption", [:],
          [.element("h3", label)] + (inputs.map { [.element("p", ["class": "small"], $0)] } ?? [])),
        ModelChoicePicture.figure(part, label: label),
      ])
  }

  private static func speedup(_ times: ModelEvaluation.Pair<[Double]>?) -> String {
    guard let times, let full = SampleSummary(times.full)?.median,
      let plan = SampleSummary(times.plan)?.median, plan > 0
    else { return "" }
    return String(format: "%.2f×", full / plan)
  }

  private static func sizes(_ problem: HeadPlan.Problem) -> String {
    let lengths =
      problem.queryLength == problem.keyLength
      ? "n = \(problem.keyLength)" : "nQ = \(problem.queryLength), nKV = \(problem.keyLength)"
    let dimensions =
      problem.headDim == problem.valueDim
      ? "d = \(problem.headDim)" : "d = \(problem.headDim), dV = \(problem.valueDim)"
    return "\(problem.heads) heads on \(problem.kvHeads), \(lengths), \(dimensions)"
  }

  /// Each text once, with the number of layers where they differ.
  private static func shared(_ texts: [String]) -> [String] {
    let counts = texts.reduce(into: [(text: String, count: Int)]()) { counts, text in
      if let place = counts.firstIndex(where: { $0.text == text }) {
        counts[place].count += 1
      } else {
        counts.append((text, 1))
      }
    }
    return counts.map { counts.count == 1 ? $0.text : "\($0.text) (\($0.count) layers)" }
  }

  private static func short(_ value: Double) -> String { String(format: "%.3g", value) }
}
