import Choosing
import Measuring
import Records
import Statistics
import Units

extension ReportPage {
  /// Every cell, with its status and reason.
  var cells: [Markup] {
    guard !folder.rows.isEmpty else {
      return [paragraph("results.csv has no rows.", "muted")]
    }
    let hasRecall = folder.rows.contains { $0.accuracy.massKept != nil }
    let isVaried = settings.contains { !$0.name.isEmpty }
    let columns =
      [
        (title: "strategy", isNumber: false), ("median", true), ("95% ±", true),
        ("% of peak", true), ("error", true), ("status", false),
        ("GFLOP/s", true), ("workspace", true), ("class", false),
      ] + (hasRecall ? [("mass", true), ("top keys", true), ("gain", true)] : [])
      + (isVaried ? [("setting", false)] : [])
    let body = Set(folder.rows.map(\.n)).sorted().flatMap { n -> [Markup] in
      [group("n = \(SizeText.short(n))", columns.count)]
        + folder.rows.filter { $0.n == n }.flatMap { row($0, columns.count, hasRecall, isVaried) }
    }
    return [
      .table(columns, body),
      paragraph(
        "error: relative L2 distance from full softmax attention in fp64, on sampled rows, at the "
          + "size that was timed. % of peak: useful pairs only, of the FMA peak of the same run"
          + (folder.rows.contains { $0.arithmetic != .float32 }
            ? "; where it names an arithmetic, of the peak of its products." : "."),
        "small"),
    ] + (hasRecall ? [paragraph(Self.recallLegend, "small")] : [])
  }

  private static let recallLegend =
    "mass: the share of full attention's weights on the keys that a restricted strategy keeps. top keys: "
    + "the share of the true top keys, as many as it keeps, that it keeps. gain: of what the best keys of "
    + "the same number hold beyond keys drawn by lot, the share that it keeps; 100% is as good as topk. "
    + "All on the rows of the error."

  /// A row, and where it has a reason a second one with it, as wide as the screen.
  private func row(
    _ row: ResultRow, _ columnCount: Int, _ hasRecall: Bool, _ isVaried: Bool
  ) -> [Markup] {
    func number(_ text: String) -> Markup { .element("td", ["class": "num"], text) }
    let status = Markup.element(
      "span", ["class": "status \(Self.tone(row.status))"], Self.name(row.status))
    let hasReason = !row.reason.isEmpty
    let figures = Markup.element(
      "tr", hasReason ? ["class": "explained"] : [:],
      [.element("th", ["scope": "row", "class": "pinned"], row.strategy.text)]
        + [
          number(CellText.time(row)), number(CellText.interval(row)),
          number(Self.percentOfPeak(row)),
          number(CellText.error(row.accuracy.relativeL2)), .element("td", [:], [status]),
          number(CellText.decimal(row.work.gflopPerSecond)),
          number(CellText.bytes(row.work.workspaceBytes)),
          .element("td", row.strategy.classification),
        ]
        + (hasRecall
          ? [row.accuracy.massKept, row.accuracy.topKeysFound, row.accuracy.gainRealised]
            .map { number($0.map { CellText.percent($0) } ?? "") } : [])
        + (isVaried ? [.element("td", Self.setting(row))] : []))
    guard hasReason else { return [figures] }
    let reason = Markup.element("div", ["class": "reason"], row.reason)
    return [
      figures,
      .element("tr", [:], [.element("td", ["colspan": "\(columnCount)"], [reason])]),
    ]
  }

  private static func percentOfPeak(_ row: ResultRow) -> String {
    let text = CellText.decimal(row.work.percentOfPeak)
    return text.isEmpty || row.arithmetic == .float32
      ? text : "\(row.arithmetic.rawValue) \(text)"
  }

  private static func setting(_ row: ResultRow) -> String {
    let shape = row.shape
    let heads =
      shape.heads == shape.kvHeads ? "\(shape.heads)" : "\(shape.heads) on \(shape.kvHeads)"
    return [
      PlotRows.threadText(row.placement.threads), "batch \(shape.batch)", "\(heads) heads",
      "d = \(shape.headDimension)", shape.isCausal ? "causal" : "not causal",
    ].joined(separator: ", ")
  }

  /// What to know before trusting a number.
  var warnings: [Markup] {
    let run = folder.notes + runWarnings
    let cells = Status.allCases.compactMap { status -> String? in
      let rows = folder.rows.filter { status != .ok && $0.status == status }
      if rows.isEmpty { return nil }
      let places = rows.map { "\($0.strategy.text) at \(SizeText.short($0.n))" }
      return "\(Self.name(status)): " + places.joined(separator: ", ")
    }
    if run.isEmpty && cells.isEmpty { return [paragraph("None.", "muted")] }
    func list(_ items: [String], _ style: String) -> [Markup] {
      items.isEmpty
        ? [] : [.element("ul", ["class": style], items.map { .element("li", $0) })]
    }
    let reasons = cells.isEmpty ? [] : [paragraph("The reasons stand at the cells.", "small")]
    return list(run, "warnings") + list(cells, "notes") + reasons
  }

  /// What the description of the run gives away.
  private var runWarnings: [String] {
    guard let metadata = folder.metadata else { return [] }
    var warnings: [String] = []
    if !metadata.completed {
      warnings.append("the sweep did not run to its end; --resume goes on with it")
    }
    if metadata.build.dirty == true {
      warnings.append("the sources had changes that are in no commit")
    }
    if let load = metadata.loadBefore?.first, load >= 0.5 {
      warnings.append(
        "other work may have been running: load \(SignificantDigits.three(load)) on "
          + "\(metadata.machine.cores) cores when the sweep began")
    }
    let stolen = folder.rows.compactMap(\.disturbance.stealPercent).max() ?? 0
    if stolen >= 1 {
      warnings.append(
        "the hypervisor took up to \(SignificantDigits.three(stolen))% of a cell's time")
    }
    if let governor = metadata.machine.governor, governor != "performance" {
      warnings.append("the frequency governor was \(governor), not performance")
    }
    return warnings
  }
}
