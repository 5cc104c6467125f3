import Attention
import AttentionBench
import Foundation
import TensorFiles
import TextTable

/// What `attnbench recommend` prints about a whole model.
struct ModelReport {
  /// The file of tensors.
  let inputs: String
  /// The file of sensitivities.
  let sensitivities: String?
  /// The time that the measurement is given; nil where there is none, only another choice from one.
  let budget: TimeSpan?
  let save: String?
  /// The file of everything measured.
  let record: String?
  let plot: String?
  let isJSON: Bool

  /// What is going to be measured, before it is.
  static func header(
    _ model: ModelInputs, _ layers: [ModelLayer], _ stated: [StatedAttention],
    _ placement: SweepPlacement, sensitivities: String?, limit: Double?, budget: TimeSpan
  ) -> [String] {
    let name = model.metadata.model.map { ": \($0)" } ?? ""
    let shapes = layers.map { layer in
      let shape = layer.problem.shape
      let lengths =
        shape.queryLength == shape.keyLength
        ? "n = \(shape.keyLength)" : "nQ = \(shape.queryLength), nKV = \(shape.keyLength)"
      let dimensions =
        shape.headDim == shape.valueDim
        ? "d = \(shape.headDim)" : "d = \(shape.headDim), dV = \(shape.valueDim)"
      return "\(shape.heads) heads on \(shape.kvHeads), \(lengths), \(dimensions)"
    }
    let weights =
      sensitivities.map { "sensitivities of \($0)" } ?? "1 for every layer (--sensitivity FILE)"
    return [
      "\(model.path)\(name)",
      "\(layers.count) layers (\(numbers(layers.map(\.number)))), "
        + "\(layers.reduce(0) { $0 + $1.problem.shape.heads }) heads, stored as \(model.elementType)",
    ]
      + shared(shapes).map { "shape: \($0)" }
      + shared(stated.map(\.description)).map { "attention: \($0)" } + [
        "weights: \(weights); limit on the total error: "
          + (limit.map { number($0) } ?? "none, the whole curve"),
        "threads: \(placement.threads) (\(placement.binding)); storage: "
          + "\(layers.first?.problem.storage.label ?? ""); budget: \(budget)",
      ]
  }

  /// How often each text stands there, in the order in which they come.
  private static func counts(_ texts: [String]) -> [(text: String, count: Int)] {
    texts.reduce(into: []) { counts, text in
      if let index = counts.firstIndex(where: { $0.text == text }) {
        counts[index].count += 1
      } else {
        counts.append((text, 1))
      }
    }
  }

  /// What several layers have in common, once, with how many share it where not all do.
  private static func shared(_ texts: [String]) -> [String] {
    let counts = counts(texts)
    return counts.map { counts.count == 1 ? $0.text : "\($0.text) (\($0.count) layers)" }
  }

  /// `0-3, 7`.
  private static func numbers(_ numbers: [Int]) -> String {
    var ranges: [ClosedRange<Int>] = []
    for number in numbers.sorted() {
      if let last = ranges.last, last.upperBound + 1 == number {
        ranges[ranges.count - 1] = last.lowerBound...number
      } else {
        ranges.append(number...number)
      }
    }
    return ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
      .joined(separator: ", ")
  }

  private static func number(_ value: Double) -> String { String(format: "%.3g", value) }

  /// Progress, on standard error.
  func show(_ event: ModelChoiceEvent) {
    switch event {
    case .layerTried(let layer, let candidates):
      Terminal.say("\(layer.name): tried \(candidates) candidates of all families")
    case .layerMeasured(let layer, let candidates, let done, let all):
      Terminal.say("[\(done)/\(all)] \(layer.name): \(candidates) candidates")
    case .layerTimed(let layer): Terminal.say("\(layer.name): plan timed")
    case .warning(let text): Terminal.say("warning: \(text)")
    case .firstCurve(let choice):
      let measured = choice.layers.filter(\.isMeasured).map(\.number)
      Terminal.say("so far, with the layers \(Self.numbers(measured)) alone:")
      curve(choice).forEach(Terminal.say)
      Terminal.say("measuring on, until --budget at the latest")
    }
  }

  /// Writes the plan, the measurement and the picture, as far as they are asked for, and prints the
  /// trade-off, the plan and what to do with it.
  ///
  /// - Throws: `CommandFailure` when nothing was measured, unless it was stopped; `OutputError`.
  func write(_ measured: ModelChoiceRecord) throws {
    try OutputTransaction(
      [
        try save.map { try measured.plan.output(to: $0) },
        try record.map { try measured.output(to: $0) },
        plot.map { OutputFile($0, measured.picture.svg) },
      ].compactMap { $0 }
    ).write()
    let choice = measured.result
    if isJSON {
      try Terminal.print(json: measured)
    } else {
      for line in curve(choice) + plan(choice) + conclusion(choice) { try Terminal.print(line) }
    }
    let unmeasured = choice.unmeasured.map(\.number)
    if !unmeasured.isEmpty {
      let reason =
        choice.wasInterrupted ? "interrupted: " : budget.map { "the budget of \($0) is spent: " }
      Terminal.say(
        (reason ?? "") + "not measured, and keeping \(choice.baseline): layers "
          + Self.numbers(unmeasured)
          + (choice.wasInterrupted || budget == nil ? "" : "; a longer --budget measures them"))
      if unmeasured.count == choice.layers.count, !choice.wasInterrupted {
        throw CommandFailure(
          "no layer could be measured" + (budget.map { " within --budget \($0)" } ?? ""))
      }
    }
  }

  /// A row of the trade-off, and whether it is the chosen one.
  private struct Row {
    let point: ModelChoice.Point
    let isChosen: Bool
  }

  private func curve(_ choice: ModelChoice) -> [String] {
    var rows = choice.curve.map { Row(point: $0, isChosen: false) }
    if let chosen = choice.chosen {
      rows.removeAll { $0.point.limit == chosen.limit }
      rows.append(Row(point: chosen, isChosen: true))
      rows.sort { $0.point.limit < $1.point.limit }
    }
    if choice.layers.allSatisfy({ !$0.isMeasured }) { return ["nothing was measured"] }
    if rows.isEmpty { return ["nothing is faster than \(choice.baseline) on these layers"] }
    let table = TextTable<Row> {
      var columns = [
        Column(title: "limit", value: Self.number($0.point.limit), align: .right),
        Column(title: "total error", value: Self.number($0.point.totalError), align: .right),
      ]
      if sensitivities != nil {
        columns.append(
          Column(
            title: "loss increase", value: Self.number($0.point.squaredError), align: .right))
      }
      return columns + [
        Column(title: "time", value: TimeSpan.rounded(seconds: $0.point.seconds), align: .right),
        Column(
          title: "speed-up over \(choice.baseline)",
          value: String(format: "%.2f", $0.point.speedup), align: .right),
        Column(title: "pairs kept", value: CellText.percent($0.point.pairsShare), align: .right),
        Column(title: "", value: $0.isChosen ? "<- chosen" : ""),
      ]
    }
    let text = (table.string(for: rows) ?? "").trimmingCharacters(in: .newlines)
    let error =
      sensitivities == nil
      ? "total error: root of the sum over layers of the squared relative L2 error"
      : "total error: root of the sum over layers of sensitivity x squared relative L2 error; its "
        + "square is the predicted loss increase in nats"
    return text.split(separator: "\n").map(String.init) + [
      error,
      "time: attention of all layers, predicted; \(choice.baseline) "
        + "\(TimeSpan.rounded(seconds: choice.baselineSeconds)); pairs kept: of "
        + "\(choice.baseline)'s query and key pairs",
    ]
  }

  /// How many strategies of a layer are written out.
  private static let shownStrategies = 3

  private static func strategies(_ layer: ModelChoice.Layer) -> String {
    let ordered = counts(layer.heads.map(\.strategy)).enumerated()
      .sorted { ($1.element.count, $0.offset) < ($0.element.count, $1.offset) }.map(\.element)
    let shown = ordered.prefix(shownStrategies).map { "\($0.text) x\($0.count)" }
    let rest = ordered.dropFirst(shownStrategies).reduce(0) { $0 + $1.count }
    return (shown + (rest > 0 ? ["others x\(rest)"] : [])).joined(separator: ", ")
  }

  private func plan(_ choice: ModelChoice) -> [String] {
    guard choice.chosen != nil else { return [] }
    let table = TextTable<ModelChoice.Layer> {
      [
        Column(title: "layer", value: $0.number, align: .right),
        Column(title: "strategies and heads", value: Self.strategies($0)),
        Column(
          title: "error", value: $0.isMeasured ? CellText.error($0.relativeError) : "not measured",
          align: .right),
        Column(title: "pairs", value: CellText.percent($0.pairsShare), align: .right),
        Column(
          title: "time", value: TimeSpan.rounded(seconds: $0.timedSeconds ?? $0.seconds),
          align: .right),
        Column(
          title: choice.baseline,
          value: TimeSpan.rounded(seconds: $0.timedBaselineSeconds ?? $0.baselineSeconds),
          align: .right),
      ]
    }
    return [""]
      + (table.string(for: choice.layers) ?? "").trimmingCharacters(in: .newlines)
      .split(separator: "\n").map(String.init)
  }

  private func conclusion(_ choice: ModelChoice) -> [String] {
    let written = [record, plot].compactMap { $0 }
    return (written.isEmpty ? [] : ["", "wrote \(written.joined(separator: ", "))"]) + next(choice)
  }

  private func next(_ choice: ModelChoice) -> [String] {
    let record = record.flatMap { Terminal.isFile($0) ? $0 : nil }
    guard let chosen = choice.chosen else {
      guard let example = choice.curve.dropFirst(choice.curve.count / 2).first else { return [] }
      return [
        "",
        record.map {
          "next: attnbench plan \($0) --max-total-error \(Self.number(example.limit)) "
            + "--save plan.json"
        }
          ?? "next: attnbench recommend --inputs \(inputs) --max-total-error "
          + Self.number(example.limit)
          + (sensitivities.map { " --sensitivity \($0)" } ?? "") + " --save plan.json",
      ]
    }
    var lines = [""]
    if let timed = choice.timed {
      let which =
        timed.layers == choice.layers.count ? "all layers" : "\(timed.layers) of the layers"
      lines.append(
        "the plan, run over \(which): \(TimeSpan.rounded(seconds: timed.seconds)); "
          + "\(choice.baseline) in the same rounds "
          + "\(TimeSpan.rounded(seconds: timed.baselineSeconds)): "
          + String(format: "%.2f", timed.baselineSeconds / max(timed.seconds, 1e-12))
          + " times as fast (predicted \(String(format: "%.2f", chosen.speedup)))")
    }
    if let save, !Terminal.isFile(save) {
      lines.append("wrote the plan to \(save); in a file it is one for attnbench run --plan")
    } else if let save {
      lines.append("wrote \(save)")
      lines.append("next: attnbench-model evaluate MODEL --plan \(save) --text OTHER")
      lines.append(
        "      attnbench report \(record ?? save) draws it"
          + (record == nil && budget != nil
            ? "; --record keeps the whole trade-off for attnbench plan" : ""))
    } else {
      lines.append("next: the same with --save plan.json keeps the plan")
    }
    return lines
  }
}
