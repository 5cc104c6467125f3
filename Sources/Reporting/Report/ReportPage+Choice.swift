import Choosing
import Measuring
import Records
import Statistics
import Units

extension ReportPage {
  /// The fastest at each size, and where one begins to win.
  var choice: [Markup] {
    guard !folder.rows.isEmpty else {
      return [paragraph("Nothing was measured, so nothing can be chosen.", "muted")]
    }
    let explanation =
      "The fastest measured strategy of the exact class, and the fastest whose relative L2 distance "
      + "from full attention is within a limit; ×: times faster than the exact one of its row. The "
      + "error depends on the data: a window over half "
      + "the keys was off by 1.2 on random tensors and by 0.46 on those of a language model."
    let columns =
      [(title: "n", isNumber: true), (title: "exact", isNumber: false)]
      + limits.map { (title: "error ≤ \(Self.limit($0))", isNumber: false) }
    let body = settings.flatMap { setting -> [Markup] in
      let choices = setting.choices(limits).map(choiceRow)
      return (setting.name.isEmpty ? [] : [group(setting.name, columns.count)]) + choices
    }
    return [paragraph(explanation, "small"), .table(columns, body)]
      + [.element("h3", "Where each begins to win")] + crossings
  }

  private func choiceRow(_ choice: SizeChoice) -> Markup {
    let cells = choice.within.map { self.cell($0, reference: choice.exact) }
    return .element(
      "tr", [:],
      [
        .element("th", ["scope": "row", "class": "num"], SizeText.short(choice.n)),
        cell(choice.exact, reference: nil),
      ] + cells)
  }

  private func cell(_ pick: SizeChoice.Pick?, reference: SizeChoice.Pick?) -> Markup {
    guard let pick else { return .element("td", ["class": "muted"], "none measured") }
    var details = [TimeSpan.rounded(seconds: pick.seconds)]
    if let reference, reference.strategy != pick.strategy {
      details[0] += ", \(SignificantDigits.three(reference.seconds / pick.seconds))×"
      details += [pick.error.map { "error \(CellText.error($0))" }].compactMap { $0 }
    }
    if pick.isLevel { details.append("another as fast") }
    if pick.status != .ok { details.append(Self.name(pick.status)) }
    return .element(
      "td", [:], [.text(pick.strategy)] + details.map { .element("small", $0) })
  }

  private var crossings: [Markup] {
    let found = folder.scaling.crossovers.filter { $0.n != nil }
    let others = folder.scaling.crossovers.filter { $0.n == nil }
    let hasSettings = folder.scaling.crossovers.contains { !$0.faster.variation.isEmpty }
    var parts: [Markup] = []
    if found.isEmpty {
      parts.append(paragraph("No strategy overtakes another within the measured sizes.", "muted"))
    } else {
      let columns =
        [(title: "faster", isNumber: false), ("than", false), ("from", false)]
        + (hasSettings ? [(title: "at", isNumber: false)] : [])
      parts.append(.table(columns, found.map { self.row($0, hasSettings) }))
    }
    guard !others.isEmpty else { return parts }
    let list = Markup.element(
      "ul", ["class": "notes"], others.map { .element("li", $0.sentence) })
    let summary = Markup.element("summary", "Pairs that do not cross (\(others.count))")
    return parts + [.element("details", [:], [summary, list])]
  }

  private func row(_ crossover: Crossover, _ hasSettings: Bool) -> Markup {
    var note = crossover.outcome == .unclear ? "unclear: noise may have made it" : ""
    var place = crossover.n.map { RoundedSize.text($0) } ?? ""
    if let n = crossover.n, let interval = crossover.interval {
      (place, note) = (RoundedSize.text(n, interval), "95% interval")
    }
    let cells: [Markup] = [
      .element("th", ["scope": "row"], crossover.faster.strategy),
      .element("td", crossover.slower.strategy),
      .element(
        "td", [:],
        [.text("n = \(place)")] + (note.isEmpty ? [] : [.element("small", note)])),
    ]
    let setting = Markup.element("td", ["class": "muted"], crossover.faster.variation)
    return .element("tr", [:], cells + (hasSettings ? [setting] : []))
  }
}
