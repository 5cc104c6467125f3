import ArgumentParser
import AttentionBench
import Foundation
import TextTable

/// `attnbench compare`: is the second run faster, slower or the same?
struct CompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Hold a second sweep against a first one, cell by cell.",
    discussion: """
      FASTER and SLOWER: B differs from A beyond chance, the number of cells accounted for, and by \
      --min-effect or more, in the fastest samples too. SAME: any difference is smaller than that. \
      UNCLEAR: the samples do not decide it. WRONG: B's output left its definition. LOST: B failed \
      where A was measured.
      Exit codes: 0 no regression, 2 a cell is SLOWER, WRONG or LOST, 1 a directory cannot be \
      compared.
      Example: attnbench compare results/before results/after
      """)

  @Argument(help: "The directory of the sweep to compare with: A.", completion: .directory)
  var directoryA: String

  @Argument(help: "The directory of the sweep that is judged: B.", completion: .directory)
  var directoryB: String

  @Option(
    parsing: .upToNextOption, help: "More sweeps of A's build: every pair of runs must agree.",
    completion: .directory)
  var repeatA: [String] = []

  @Option(parsing: .upToNextOption, help: "More sweeps of B's build.", completion: .directory)
  var repeatB: [String] = []

  @Option(parsing: .unconditional, help: "The smallest difference that counts.")
  var minEffect = "5%"

  @Option(
    help: """
      time: wall time. pct_of_peak: time by the FMA peak of the same run, which takes a change of \
      clock out.
      """)
  var metric = ComparisonRules.Metric.time

  @Flag(help: "Print JSON.")
  var json = false

  mutating func run() throws {
    var rules = ComparisonRules()
    rules.metric = metric
    rules.minimumEffect = try Percent(parsing: minEffect, argument: "--min-effect").fraction
    let before = try ([directoryA] + repeatA).map { try RecordedRun(reading: $0) }
    let after = try ([directoryB] + repeatB).map { try RecordedRun(reading: $0) }
    for note in (before + after).flatMap(\.notes) { Terminal.say("note: \(note)") }
    guard let comparison = Comparison.ofRuns(before, after, rules: rules) else { return }
    for caution in comparison.cautions { Terminal.say("warning: \(caution)") }
    guard !comparison.cells.isEmpty else {
      throw CommandFailure(
        "\(directoryA) and \(directoryB) have no cell in common: the same strategy, parameters, "
          + "problem and threads; sweep both with the same options")
    }
    if json {
      let encoder = JSONEncoder.readable
      encoder.keyEncodingStrategy = .convertToSnakeCase
      try Terminal.print(json: ComparisonDocument(comparison, before, after), by: encoder)
    } else {
      try print(comparison, before, after)
    }
    if before.count + after.count == 2, comparison.count(.slower) + comparison.count(.faster) > 0 {
      Terminal.say(
        "note: one run a side cannot tell a build from the luck of a run; sweep both once more and "
          + "add --repeat-a DIR --repeat-b DIR")
    }
    if comparison.hasRegression { throw CommandExit.regression }
  }

  private func print(
    _ comparison: Comparison, _ before: [RecordedRun], _ after: [RecordedRun]
  ) throws {
    for run in before { try Terminal.print(Self.title("A", run)) }
    for run in after { try Terminal.print(Self.title("B", run)) }
    let table = TextTable<CellComparison> {
      [
        Column(title: "cell", value: $0.id),
        Column(title: "class", value: $0.a.row.strategy.classification),
        Column(title: "A", value: Self.time($0.a), align: .right),
        Column(title: "B", value: Self.time($0.b), align: .right),
        Column(title: metric.heading, value: Self.ratio($0.change?.ratio), align: .right),
        Column(title: "95% interval", value: Self.interval($0.change), align: .right),
        Column(title: "verdict", value: $0.verdict.rawValue),
      ]
    }
    try Terminal.print(
      (table.string(for: comparison.cells) ?? "").trimmingCharacters(in: .newlines))
    for line in Self.reasons(comparison.cells) { try Terminal.print(line) }
    for (name, rows) in [("A", comparison.onlyInA), ("B", comparison.onlyInB)] where !rows.isEmpty {
      try Terminal.print("only in \(name): \(rows.map(\.cellID).joined(separator: ", "))")
    }
    try Terminal.print(Self.summary(comparison))
  }

  private static func title(_ name: String, _ run: RecordedRun) -> String {
    let build = run.metadata?.build
    let commit = build?.commit.map { ", commit \($0.prefix(10))" } ?? ""
    let changes = build?.dirty == true ? " with changes" : ""
    return "\(name)  \(run.directory)  \(run.rows.first?.runID ?? "")\(commit)\(changes)"
  }

  private static func time(_ side: CellComparison.Side) -> String {
    guard side.row.status.isMeasured, let median = side.median else {
      return side.row.status.rawValue
    }
    return TimeSpan.rounded(seconds: median)
  }

  private static func ratio(_ value: Double?) -> String {
    value.map { String(format: "%.3f", $0) } ?? ""
  }

  private static func interval(_ change: CellComparison.Change?) -> String {
    guard let interval = change?.interval else { return "" }
    return "\(ratio(interval.lowerBound)) to \(ratio(interval.upperBound))"
  }

  /// A line a reason, with the cells that share it.
  private static func reasons(_ cells: [CellComparison]) -> [String] {
    var reasons: [String] = []
    var names: [String: [String]] = [:]
    for cell in cells where !cell.reason.isEmpty {
      let reason = "\(cell.verdict.rawValue): \(cell.reason)"
      if names[reason] == nil { reasons.append(reason) }
      names[reason, default: []].append(cell.id)
    }
    return reasons.map { "\((names[$0] ?? []).joined(separator: ", ")) \($0)" }
  }

  /// `regression: 1 SLOWER, 40 SAME; B/A 1.004, the geometric mean over 41 cells`.
  private static func summary(_ comparison: Comparison) -> String {
    let counts = Verdict.allCases.compactMap { verdict in
      let count = comparison.count(verdict)
      return count == 0 ? nil : "\(count) \(verdict.rawValue)"
    }
    let mean = comparison.meanRatio.map {
      "; \(comparison.rules.metric.heading) \(ratio($0.ratio)), the geometric mean over \($0.cells) "
        + ($0.cells == 1 ? "cell" : "cells")
    }
    let outcome = comparison.hasRegression ? "regression" : "no regression"
    return "\(outcome): \(counts.joined(separator: ", "))\(mean ?? "")"
  }
}

extension ComparisonRules.Metric: ExpressibleByArgument {
  /// What a ratio is called in a table.
  fileprivate var heading: String {
    switch self {
    case .time: "B/A"
    case .percentOfPeak: "B/A at equal peak"
    }
  }
}

/// What `compare --json` prints. Times in seconds, the interval is that of `ratio`.
private struct ComparisonDocument: Encodable {
  struct Run: Encodable {
    let directory: String
    let runId: String?
    let commit: String?
    let dirty: Bool?

    init(_ run: RecordedRun) {
      directory = run.directory
      runId = run.rows.first?.runID
      commit = run.metadata?.build.commit
      dirty = run.metadata?.build.dirty
    }
  }

  struct Side: Encodable {
    let status: Status
    let samples: Int
    let timeMedianS: Double?
    let fmaPeakGflopPerS: Double?
    let oracleRelL2Error: Double?

    init(_ side: CellComparison.Side) {
      status = side.row.status
      samples = side.samples
      timeMedianS = side.median
      fmaPeakGflopPerS = side.peak
      oracleRelL2Error = side.row.accuracy.oracleRelativeL2.flatMap { $0.isFinite ? $0 : nil }
    }
  }

  struct Cell: Encodable {
    let cellId: String
    let `class`: String
    let verdict: Verdict
    let reason: String
    let ratio: Double?
    let ratioCi95: [Double]?
    let adjustedP: Double?
    let a: Side
    let b: Side

    init(_ cell: CellComparison) {
      cellId = cell.id
      `class` = cell.a.row.strategy.classification
      verdict = cell.verdict
      reason = cell.reason
      ratio = cell.change?.ratio
      ratioCi95 = cell.change.map { [$0.interval.lowerBound, $0.interval.upperBound] }
      adjustedP = cell.change?.chance
      a = Side(cell.a)
      b = Side(cell.b)
    }
  }

  let regression: Bool
  let metric: String
  let minEffect: Double
  let counts: [String: Int]
  let meanRatio: Double?
  let warnings: [String]
  let onlyInA: [String]
  let onlyInB: [String]
  let a: [Run]
  let b: [Run]
  let cells: [Cell]

  init(_ comparison: Comparison, _ before: [RecordedRun], _ after: [RecordedRun]) {
    regression = comparison.hasRegression
    metric = comparison.rules.metric.rawValue
    minEffect = comparison.rules.minimumEffect
    counts = Dictionary(
      uniqueKeysWithValues: Verdict.allCases.map { ($0.rawValue, comparison.count($0)) })
    meanRatio = comparison.meanRatio?.ratio
    warnings = comparison.cautions
    onlyInA = comparison.onlyInA.map(\.cellID)
    onlyInB = comparison.onlyInB.map(\.cellID)
    a = before.map(Run.init)
    b = after.map(Run.init)
    cells = comparison.cells.map(Cell.init)
  }
}
