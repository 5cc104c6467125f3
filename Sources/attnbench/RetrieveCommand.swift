import ArgumentParser
import Attention
import AttentionBench
import Foundation
import MachineTopology
import TensorFiles
import TextTable

/// `attnbench retrieve`: from how far a strategy can fetch what a query asks for.
struct RetrieveCommand: BLASCommand {
  static let configuration = CommandConfiguration(
    commandName: "retrieve",
    abstract: "Plant keys that a query must find, and report the share found by distance.",
    discussion: """
      Queries ask for one key each, so sharply that full attention puts 0.9 of its weight on it. \
      One is found when the output is nearer to its value than to those of 255 other keys. \
      Distances are octaves: 8 stands for 8 to 15, drawn evenly. See Guides/Quality.md.
      Example: attnbench retrieve --n 8k --strategy 'flash,window(512),linear' --causal -o out
      """)

  @Option(parsing: .unconditional, help: "Size, as 8k.")
  var n: String

  @OptionGroup var strategy: StrategyOptions
  @OptionGroup(title: "Problem") var shape: ShapeOptions
  @OptionGroup(title: "Problem") var positions: PositionOptions

  @Option(
    parsing: .unconditional,
    help: "Exact distances, as 1,127,128 or 1..4k, instead of octaves.")
  var distances: String?

  @Option(
    parsing: .unconditional, help: "Needles for each distance (default: 256).",
    transform: Count.parse)
  var needles = 256

  @Option(parsing: .unconditional, help: "Seed of the haystack and of the needles.")
  var seed: UInt64 = 1

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: "Write retrieval.csv and a picture of it into this directory.",
    transform: PathOption.parse)
  var output: String?

  @OptionGroup(title: "Threads") var threads: ThreadOptions
  @OptionGroup var blasOptions: BLASOptions

  mutating func run() throws {
    guard 1...100_000 ~= needles else {
      throw UsageError("--needles \(needles): from 1 to 100000 can be planted; omit it for 256")
    }
    let task = try task()
    let strategies = try strategy.strategies()
    if let output {
      let pictures = (["gp"] + GnuplotScript.Format.allCases.map(\.rawValue)).map {
        "retrieval.\($0)"
      }
      try OutputTransaction.check(
        directory: output, files: ["retrieval.csv"] + pictures, reading: positions.inputPaths)
    }
    let topology = try MachineTopology.host()
    let team = try threads.team(of: threads.count(on: topology), on: topology)
    let stop = StopFlag()
    let signals = InterruptSignals(stop)
    defer { signals.restore() }
    try announceBLAS()

    let available = MachineMemory.current()?.availableBytes ?? .max
    let limit = MemoryLimit.available(try Percent(parsing: "80%", argument: "--max-memory"))
      .resolved(available: ByteCount(available))
    let outcomes = try RetrievalRunner(team: team, memoryLimit: limit)
      .run(task, strategies, stop: stop)
    var results: [RetrievalResult] = []
    for outcome in outcomes {
      switch outcome {
      case .measured(let result): results.append(result)
      case .notRun(let strategy, let reason): Terminal.say("note: \(strategy) not run: \(reason)")
      }
    }
    guard !results.isEmpty else { throw CommandFailure("no strategy could be run") }
    try print(results, task)
    if let output { try write(results, task, to: output) }
    // What was counted until then has been printed.
    if stop.isRaised { throw CommandExit.interrupted }
  }

  private func task() throws -> RetrievalTask {
    let size = try SizeText.parse(n, argument: "--n")
    let offset = try positions.offset()
    let distances = try self.distances.map { try SizeList(parsing: $0, argument: "--distances") }
    let shape = try shape.shape(queryLength: size)
    let problem: AttentionProblem
    do throws(AttentionError) {
      problem = try AttentionProblem(
        shape, visibility: Visibility(causal: positions.causal, offset: offset))
    } catch {
      throw positions.files.holding(error) ?? UsageError(naming: error)
    }
    return try RetrievalTask(problem, distances: distances?.sizes, needles: needles, seed: seed)
  }

  private func print(_ results: [RetrievalResult], _ task: RetrievalTask) throws {
    let hasSides = task.bins.contains { $0.side == .after }
    let table = TextTable<Int> { index in
      let bin = task.bins[index]
      let side = hasSides ? [Column(title: "side", value: bin.side.rawValue)] : []
      return side + [
        Column(title: "distance", value: Self.text(bin.distances), align: .right),
        Column(
          title: "needles", value: "\(results.map { $0.counts[index].needles }.max() ?? 0)",
          align: .right),
      ]
        + results.map { result in
          let count = result.counts[index]
          let share = count.needles == 0 ? "" : CellText.percent(count.share)
          return Column(title: result.strategy, value: share, align: .right)
        }
    }
    let text = table.string(for: Array(task.bins.indices)) ?? ""
    try Terminal.print(text.trimmingCharacters(in: .newlines))
    for result in results {
      let recall =
        result.overallRecall.map {
          ", and keeps \(CellText.percent($0.massKept)) of full attention's mass and "
            + "\(CellText.percent($0.topKeysFound)) of the true top keys"
        } ?? ""
      try Terminal.print(
        "\(result.strategy) finds \(CellText.percent(result.overallShare)) over all distances\(recall)"
      )
    }
    try Terminal.print(
      "share of needles found on \(task.problem.summary), seed \(task.seed); guessing finds "
        + CellText.percent(task.chance))
  }

  private static func text(_ distances: ClosedRange<Int>) -> String {
    distances.count == 1
      ? "\(distances.lowerBound)" : "\(distances.lowerBound)-\(distances.upperBound)"
  }

  private func write(
    _ results: [RetrievalResult], _ task: RetrievalTask, to directory: String
  ) throws {
    var files = [OutputFile(directory + "/retrieval.csv", RetrievalFile.text(results, of: task))]
    do throws(PlotError) {
      if let figure = Figure.retrieval(results, of: task) {
        files += try Gnuplot().draw(
          figure, formats: GnuplotScript.Format.allCases, in: directory)
      }
    } catch .gnuplotMissing {
      // The figures are kept, and the picture can be drawn where gnuplot is.
      Terminal.say("note: no picture: \(PlotError.gnuplotMissing)")
    }
    try OutputTransaction(files, creating: directory).write()
    for file in files { Terminal.say("wrote \(file.path)") }
  }
}
