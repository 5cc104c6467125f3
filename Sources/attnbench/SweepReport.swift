import Attention
import AttentionBench
import Foundation
import MachineTopology
import TensorFiles
import TextTable

/// What a sweep says before it starts and when it has ended.
enum SweepReport {
  /// What is about to be measured, on what, and where the results go.
  static func header(
    _ setup: SweepCommand.Setup, _ metadata: RunMetadata, _ executor: AttentionExecutor,
    _ directory: RunDirectory
  ) -> [String] {
    let machine = metadata.machine
    var lines = [
      "attnbench \(metadata.toolVersion) on \(machine.hostname): \(machine.cpuModel), "
        + "\(machine.topologySummary), "
        + "\(ByteCount(machine.memoryAvailableBytes).rounded) memory available",
      "kernels: \(metadata.isaChosen); BLAS: \(metadata.blas.library), \(metadata.blas.core) kernel"
        + (metadata.blas.percentOfPeak.map { ", \(CellText.decimal($0))% of the FMA peak" } ?? "")
        + (metadata.blas.environmentNote.map { " (\($0))" } ?? ""),
      "n: \(setup.plan.sizes.map(String.init).joined(separator: ", "))"
        + (setup.decoding.map { " keys, read by \($0) \($0 == 1 ? "query" : "queries")" } ?? ""),
      "strategies: \(strategies(setup.plan))",
    ]
    if let problem = setup.plan.cells.first?.problem {
      let shape = problem.shape
      lines.append(
        "problem: batch \(shape.batch), \(shape.heads) heads on \(shape.kvHeads), "
          + "d = \(shape.headDim), dV = \(shape.valueDim), \(problem.storage.label), "
          + (problem.visibility.causal ? "causal" : "not causal"))
    }
    for placement in setup.plan.placements {
      let places = executor.bindings(of: placement).map { $0.map { "PU \($0)" } ?? "unbound" }
      lines.append(
        "threads: \(placement.threads), bound to \(placement.binding), read back: "
          + places.joined(separator: ", "))
    }
    lines.append("results: \(directory.layout.directory)")
    return lines
  }

  /// What would spoil the measurement, each with its remedy. OpenBLAS's settings have been spoken
  /// of already.
  static func warn(of topology: MachineTopology, _ blas: BLASEnvironment) {
    var conditions = MeasurementConditions(
      topology: topology, blas: blas, blasSpeed: nil, steal: nil)
    (conditions.blasForced, conditions.blasIgnored) = ([], [])
    for warning in conditions.warnings { Terminal.say("warning: \(warning)") }
  }

  /// Each strategy as resolved at the smallest and, if different there, the largest size.
  private static func strategies(_ plan: SweepPlan) -> String {
    let curves = Dictionary(grouping: plan.cells) { $0.curve }.sorted { $0.key < $1.key }
    var texts: [String] = []
    for (_, cells) in curves {
      guard let first = cells.first, let last = cells.last else { continue }
      let explained = [first, last].map { $0.strategy.explainedSpec(for: $0.problem) }
      let text = Set(explained).count == 1 ? explained[0] : explained.joined(separator: " to ")
      if !texts.contains(text) { texts.append(text) }
    }
    return texts.joined(separator: ", ")
  }

  /// The table, the plots and where everything lies.
  static func conclude(
    rows: [ResultRow], plan: SweepPlan, _ metadata: RunMetadata, _ layout: RunDirectory.Layout
  ) throws {
    try table(latest(rows, plan), metadata.ceilings ?? [])
    let scaling = try ScalingReport.conclude(rows: rows, in: layout)
    let plots = draw(rows, metadata, in: layout.directory)
    try Terminal.print("")
    try Terminal.print("results  \(layout.results)")
    try Terminal.print("samples  \(layout.samples)")
    try Terminal.print("machine  \(layout.metadata)")
    do throws(OutputError) {
      try OutputTransaction(scaling + plots).write()
    } catch {
      throw CommandFailure(
        "\(error); what was measured is kept, and attnbench plot \(layout.directory) draws it")
    }
    for file in scaling { try Terminal.print("scaling  \(file.path)") }
    for file in plots where !file.path.hasSuffix(".gp") {
      try Terminal.print("plot     \(file.path)")
    }
  }

  /// One row a cell in the order of the plan: of a cell that ran twice the later one.
  static func latest(_ rows: [ResultRow], _ plan: SweepPlan) -> [ResultRow] {
    let byCell = Dictionary(rows.map { ($0.cellID, $0) }) { _, later in later }
    return plan.cells.compactMap { byCell[$0.id] }
  }

  private static func table(_ rows: [ResultRow], _ ceilings: [MachineCeiling]) throws {
    func bound(_ row: ResultRow) -> RooflineBound? { RooflineBound(row, ceilings: ceilings) }
    let isDecoding = rows.isDecoding
    func readShare(_ row: ResultRow) -> Double? {
      row.readShare(ceilings: ceilings).map { 100 * $0 }
    }
    let table = TextTable<ResultRow> {
      [
        Column(title: "n", value: SizeText.short($0.n), align: .right),
        Column(title: "strategy", value: name($0)),
        Column(title: "class", value: $0.strategy.classification),
        Column(title: "threads", value: $0.placement.threads, align: .right),
        Column(title: "median", value: CellText.time($0), align: .right),
        Column(title: "95% ±", value: CellText.interval($0), align: .right),
        isDecoding
          ? Column(title: "GB/s", value: CellText.decimal($0.gigabytesPerSecond), align: .right)
          : Column(
            title: "GFLOP/s", value: CellText.decimal($0.work.gflopPerSecond), align: .right),
        isDecoding
          ? Column(
            title: "% of read", value: CellText.decimal(readShare($0)), align: .right)
          : Column(
            title: "% of peak", value: CellText.decimal($0.work.percentOfPeak), align: .right),
        Column(title: "bound", value: bound($0)?.description ?? "", align: .right),
        Column(title: "workspace", value: CellText.bytes($0.work.workspaceBytes), align: .right),
        Column(title: "error", value: CellText.error($0.accuracy.relativeL2), align: .right),
        Column(title: "status", value: $0.status.rawValue),
      ]
    }
    try Terminal.print((table.string(for: rows) ?? "").trimmingCharacters(in: .newlines))
    try Terminal.print(
      "error: relative L2 distance from full softmax attention on sampled rows; none where that is "
        + "not finite")
    try Terminal.print(
      "bound: the nearer ceiling measured in this run, the peak of the cell's arithmetic (fma, bf16) or "
        + "the rate of reading from where its data lie (mem, L3, L2), and how much of it was reached"
    )
    if isDecoding {
      try Terminal.print(
        "GB/s: queries, keys, values and output once, over the median; % of read: of the rate at which "
          + "the same data were read between the runs")
    }
    let remarks = rows.count { $0.status == .ok && !$0.reason.isEmpty }
    if remarks > 0 {
      try Terminal.print(
        "\(remarks) of \(rows.count) cells are ok with a remark, such as outliers, which are kept: "
          + "see reason in results.csv")
    }
    for row in rows where row.status != .ok {
      try Terminal.print(
        "\(SizeText.short(row.n)) \(name(row)) t\(row.placement.threads) "
          + "\(row.status.rawValue): \(row.reason)")
    }
  }

  private static func name(_ row: ResultRow) -> String {
    let parameters = row.strategy.parameters
    return parameters.isEmpty ? row.strategy.name : "\(row.strategy.name)(\(parameters))"
  }

  /// Draws every kind that the rows allow. What cannot be drawn costs a line, not the sweep.
  private static func draw(
    _ rows: [ResultRow], _ metadata: RunMetadata, in directory: String
  ) -> [OutputFile] {
    guard rows.contains(where: \.status.isMeasured) else {
      Terminal.say("note: no plots: no cell was measured")
      return []
    }
    do throws(PlotError) {
      let gnuplot = try Gnuplot()
      var files: [OutputFile] = []
      for kind in PlotKind.allCases {
        do throws(PlotError) {
          let figure = try kind.figure(
            rows: rows, machine: metadata.machine.cpuModel, ceilings: metadata.ceilings ?? [],
            inputs: metadata.tensorSource)
          files += try gnuplot.draw(figure, formats: [.svg, .png], in: directory)
        } catch {
          Terminal.say("note: \(error)")
        }
      }
      return files
    } catch {
      Terminal.say("note: no plots: \(error)")
      return []
    }
  }

  /// What a sweep would do.
  static func print(_ preview: SweepPreview) throws {
    let table = TextTable<SweepPreview.Line> {
      [
        Column(title: "cell", value: $0.cell.id),
        Column(
          title: "predicted run",
          value: $0.run.map { "~ \(TimeSpan.rounded(seconds: $0.seconds))" } ?? "",
          align: .right),
        Column(title: "memory", value: CellText.bytes($0.memoryBytes), align: .right),
        Column(
          title: "outcome",
          value: $0.isKept
            ? "kept: \($0.status.rawValue)"
            : $0.status == .ok ? "would run" : $0.status.rawValue),
        Column(title: "reason", value: $0.reason),
      ]
    }
    try Terminal.print((table.string(for: preview.lines) ?? "").trimmingCharacters(in: .newlines))
    func percent(_ share: Double) -> String { "\(Int((share * 100).rounded()))%" }
    try Terminal.print(
      "predicted, not measured: every strategy is assumed to compute at "
        + "\(percent(SweepForecast.assumedShare)) of the peak and to read at "
        + "\(percent(SweepForecast.assumedReadShare)) of the bandwidth that were measured just now, "
        + "whichever takes longer; a sweep predicts from its own smaller sizes instead")
    let running = preview.lines.count { $0.status == .ok && !$0.isKept }
    try Terminal.print(
      "\(running) of \(preview.lines.count) cells would run, about "
        + "\(CellText.minutes(preview.seconds)) at least")
  }
}
