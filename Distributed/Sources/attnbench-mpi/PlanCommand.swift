import ArgumentParser
import Attention
import AttentionBench
import DistributedAttention
import Foundation
import MachineTopology
import MessagePassing
import TensorFiles
import TextTable

/// `attnbench-mpi plan`: what it would cost on so many nodes, before anybody books them.
struct PlanCommand: RankCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract: "Predict time, bytes and memory over ranks from rates measured here.",
    discussion: """
      Measures the strategy for a moment with one rank's workers, and works out every scheme that serves it; \
      Guides/Distributed.md has the formulas. Under mpirun all ranks measure at once, and the slowest counts.
      Example: attnbench-mpi plan --n 1M --heads 32 --ranks 8,16,64 --link 12.5GB/s --latency 2us --causal
      """)

  @OptionGroup var problemOptions: ProblemOptions
  @OptionGroup var schemeOptions: SchemeOptions

  @Option(help: "Numbers of ranks: 8,16,64.")
  var ranks = "2,4,8,16,64"

  @Option(help: "What a rank sends and receives a second: 12.5GB/s.")
  var link = "12.5GB/s"

  @Option(help: "Before the first byte of a message arrives.")
  var latency = "2us"

  @Option(parsing: .unconditional, help: "Rows to measure the rate with, at most.")
  var rateRows = 8192

  @Option(help: "How long to measure the rate.")
  var seconds = "2s"

  @Option(name: [.customShort("o"), .long], help: "CSV file.")
  var output: String?

  @Option(help: "Draw time against ranks, a curve a scheme: FILE.svg or FILE.png.")
  var plot: String?

  @Option(help: "How long a rank may be silent.")
  var timeLimit = "5m"

  enum Columns: CSVColumns {
    static let names = [
      "n", "strategy", "heads", "kv_heads", "head_dim", "causal", "ranks", "threads", "scheme",
      "time_s", "compute_s", "communication_s", "hidden", "hidden_from_n", "bytes_per_rank",
      "memory_per_rank", "wins", "rank_gflops", "link_bytes_per_s", "latency_s",
    ]
  }

  private struct Settings {
    let sizes: [Int]
    let strategies: [any AttentionStrategy]
    let schemes: [Scheme?]
    let order: ShardOrder?
    let counts: [Int]
    let link: LinkModel
    let team: WorkerTeam
    let seconds: Double
  }

  /// A scheme on a number of ranks.
  private struct Row {
    let problem: AttentionProblem
    let strategy: any AttentionStrategy
    let prediction: Prediction
    let wins: Bool
    let rate: MeasuredRate
    let link: LinkModel
  }

  func run(on communicator: Communicator) throws {
    let settings = try communicator.agree(
      { try readSettings(isWriting: communicator.rank == 0) }, failure: Program.outcome)
    var rows: [Row] = []
    for size in settings.sizes {
      for strategy in settings.strategies {
        let (problem, probe) = try communicator.agree(
          {
            let problem = try problemOptions.problem(size)
            return (
              problem,
              try RateProbe(
                strategy, problem, scheme: .ring, order: settings.order, rows: rateRows,
                seed: problemOptions.seed, communicator: communicator, team: settings.team)
            )
          }, failure: Program.outcome)
        let rate = try probe.measure(
          seconds: settings.seconds, pace: .fastest, sharesCores: false)
        if communicator.rank == 0 {
          Console.note(
            "\(strategy.spec(for: problem)): a rank of \(problemOptions.threads) thread(s) does "
              + "\(Int(rate.flopsPerSecond / 1e9)) GFLOP/s here")
        }
        // On all ranks, so that all know of an error.
        rows += try communicator.agree(
          {
            let model = try PredictionModel(strategy, problem, rate: rate, link: settings.link)
            return try settings.counts.flatMap {
              try predictions(model, problem, strategy, rate, ranks: $0, settings)
            }
          }, failure: Program.outcome)
      }
    }
    try communicator.agree(
      {
        guard communicator.rank == 0 else { return }
        Console.print(table(rows))
        try write(rows)
      }, failure: Program.outcome)
  }

  private func readSettings(isWriting: Bool) throws -> Settings {
    try problemOptions.refusePacked("plan")
    guard rateRows >= 1 else {
      throw PlanError(
        argument: "--rate-rows", value: "\(rateRows)", rule: "at least 1 row is measured",
        fix: "write for example 8192")
    }
    if isWriting {
      try OutputTransaction.check([output, plot].compactMap { $0 })
      if let plot { try PlanFigure.check(plot) }
    }
    return Settings(
      sizes: try problemOptions.sizes, strategies: try problemOptions.strategies,
      schemes: try schemeOptions.schemes, order: try schemeOptions.order,
      counts: try SizeList(parsing: ranks, argument: "--ranks").sizes,
      link: try attnbench_mpi.link(link, latency: latency, argument: "--link"),
      team: try problemOptions.team(),
      seconds: try TimeSpan(parsing: seconds, argument: "--seconds").seconds)
  }

  /// The rows of one number of ranks. Of the schemes within 1% of the least time that wins which moves least:
  /// a network is shared.
  private func predictions(
    _ model: PredictionModel, _ problem: AttentionProblem, _ strategy: any AttentionStrategy,
    _ rate: MeasuredRate, ranks: Int, _ settings: Settings
  ) throws -> [Row] {
    let isAny = settings.schemes.contains { $0 == nil }
    var predictions: [Prediction] = []
    for scheme in isAny ? Scheme.allCases : settings.schemes.compactMap({ $0 }) {
      do throws(AttentionError) {
        predictions.append(
          try model.prediction(scheme, ranks: ranks, order: settings.order))
      } catch {
        // Of all schemes those are shown that serve; one that was asked for must.
        if !isAny || error.argument == "ranks" { throw error }
      }
    }
    let least = predictions.map(\.time).min() ?? 0
    let best = predictions.filter { $0.time <= 1.01 * least }
      .min { ($0.bytes, $0.memory) < ($1.bytes, $1.memory) }
    return predictions.map {
      Row(
        problem: problem, strategy: strategy, prediction: $0, wins: $0.scheme == best?.scheme,
        rate: rate, link: settings.link)
    }
  }

  private func table(_ rows: [Row]) -> String {
    text(rows) {
      let prediction = $0.prediction
      return [
        Column(title: "n", value: SizeText.short($0.problem.shape.queryLength), align: .right),
        Column(title: "strategy", value: $0.strategy.spec(for: $0.problem)),
        Column(title: "ranks", value: prediction.ranks, align: .right),
        Column(title: "scheme", value: prediction.scheme.rawValue),
        Column(title: "time", value: TimeSpan.rounded(seconds: prediction.time), align: .right),
        Column(
          title: "computing", value: TimeSpan.rounded(seconds: prediction.compute), align: .right),
        Column(
          title: "messages", value: TimeSpan.rounded(seconds: prediction.communication),
          align: .right),
        Column(
          title: "hidden", value: String(format: "%.0f%%", 100 * prediction.hidden), align: .right),
        Column(
          title: "hidden from", value: prediction.hiddenFrom.map { "n = \($0)" } ?? "-",
          align: .right),
        Column(
          title: "bytes/rank", value: ByteCount(prediction.bytes).rounded, align: .right),
        Column(
          title: "memory/rank", value: ByteCount(prediction.memory).rounded, align: .right),
        Column(title: "", value: $0.wins ? "<- wins" : ""),
      ]
    }
  }

  private func write(_ rows: [Row]) throws {
    var files: [OutputFile] = []
    if let output { files.append(OutputFile(output, try csv(rows.map(cells)))) }
    if let plot {
      let times = rows.map { row in
        let shape = row.problem.shape
        return PlannedTime(
          group: "\(row.strategy.spec(for: row.problem)), n = \(SizeText.short(shape.queryLength))",
          scheme: row.prediction.scheme.rawValue, ranks: row.prediction.ranks,
          seconds: row.prediction.time,
          shape: ResultRow.Shape(
            batch: shape.batch, heads: shape.heads, kvHeads: shape.kvHeads,
            queryLength: shape.queryLength, keyLength: shape.keyLength,
            headDimension: shape.headDim, valueDimension: shape.valueDim,
            elementType: row.problem.storage.label,
            isCausal: row.problem.visibility.causal),
          threads: problemOptions.threads)
      }
      let notes = [
        "predicted, not measured: from rates of one rank measured here, and a link of \(link) and "
          + "\(latency)"
      ]
      files.append(OutputFile(plot, try PlanFigure(times, path: plot, notes: notes).picture()))
    }
    try OutputTransaction(files).commit()
  }

  private func cells(_ row: Row) -> TextRow<Columns> {
    let (shape, prediction) = (row.problem.shape, row.prediction)
    return TextRow(cells: [
      "n": "\(shape.queryLength)", "strategy": row.strategy.spec(for: row.problem),
      "heads": "\(shape.heads)", "kv_heads": "\(shape.kvHeads)", "head_dim": "\(shape.headDim)",
      "causal": "\(row.problem.visibility.causal)", "ranks": "\(prediction.ranks)",
      "threads": "\(problemOptions.threads)", "scheme": prediction.scheme.rawValue,
      "time_s": "\(prediction.time)", "compute_s": "\(prediction.compute)",
      "communication_s": "\(prediction.communication)", "hidden": "\(prediction.hidden)",
      "hidden_from_n": prediction.hiddenFrom.map { "\($0)" } ?? "",
      "bytes_per_rank": "\(prediction.bytes)", "memory_per_rank": "\(prediction.memory)",
      "wins": "\(row.wins)", "rank_gflops": "\(row.rate.flopsPerSecond / 1e9)",
      "link_bytes_per_s": "\(row.link.bytesPerSecond)", "latency_s": "\(row.link.latency)",
    ])
  }
}
