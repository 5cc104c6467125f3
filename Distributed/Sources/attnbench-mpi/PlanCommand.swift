import ArgumentParser
import Attention
import AttentionBench
import DistributedAttention
import Foundation
import MachineTopology
import MessagePassing

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

  @Option(help: "How long a rank may be silent.")
  var timeLimit = "5m"

  private static let columns = [
    "n", "strategy", "heads", "kv_heads", "head_dim", "causal", "ranks", "threads", "scheme",
    "time_s", "compute_s", "communication_s", "hidden", "hidden_from_n", "bytes_per_rank",
    "memory_per_rank", "wins", "rank_gflops", "link_bytes_per_s", "latency_s",
  ]

  func run(on communicator: Communicator) throws {
    let (sizes, strategies, counts, model, team, span) = try communicator.agree(
      {
        guard rateRows >= 1 else {
          throw PlanError(
            argument: "--rate-rows", value: "\(rateRows)", rule: "at least 1 row is measured",
            fix: "write for example 8192")
        }
        return (
          try problemOptions.sizes, try problemOptions.strategies,
          try SizeList(parsing: ranks, argument: "--ranks").sizes,
          try attnbench_mpi.link(link, latency: latency, argument: "--link"),
          try problemOptions.team(),
          try TimeSpan(parsing: seconds, argument: "--seconds").seconds
        )
      }, failure: Program.outcome)
    var grid = TextGrid(Self.columns)
    var table = TextGrid([
      "n", "strategy", "ranks", "scheme", "time", "computing", "messages", "hidden", "hidden from",
      "bytes/rank", "memory/rank", "",
    ])
    for size in sizes {
      for strategy in strategies {
        let (problem, rate) = try communicator.agree(
          {
            let problem = try problemOptions.problem(size)
            return (
              problem,
              try MeasuredRate(
                strategy, problem, rows: rateRows, seconds: span, seed: problemOptions.seed,
                team: team)
            )
          }, failure: Program.outcome)
        let slowest =
          try communicator.gatherAll([rate.flopsPerSecond]).map { $0[0] }.min()
          ?? rate.flopsPerSecond
        if communicator.rank == 0 {
          Console.note(
            "\(strategy.spec(for: problem)): a rank of \(problemOptions.threads) thread(s) does "
              + "\(Int(slowest / 1e9)) GFLOP/s here")
        }
        // On all ranks, so that all know of an error.
        try communicator.agree(
          {
            let predicted = try PredictionModel(
              strategy, problem,
              rate: MeasuredRate(flopsPerSecond: slowest, workspaceBytes: rate.workspaceBytes),
              link: model)
            for count in counts {
              try add(
                predicted, problem, strategy, count, rate: slowest, model, to: &grid, &table)
            }
          }, failure: Program.outcome)
      }
    }
    guard communicator.rank == 0 else { return }
    let widths = table.widths
    Console.print(table.header(widths))
    for row in table.rows { Console.print(TextGrid.line(row, widths)) }
    if let output { try grid.write(to: output) }
  }

  /// The rows of one number of ranks. Of the schemes within 1% of the least time that wins which moves least:
  /// a network is shared.
  private func add(
    _ model: PredictionModel, _ problem: AttentionProblem, _ strategy: any AttentionStrategy,
    _ ranks: Int, rate: Double, _ link: LinkModel, to grid: inout TextGrid,
    _ table: inout TextGrid
  ) throws {
    let asked = try schemeOptions.schemes
    let isAny = asked.contains { $0 == nil }
    var predictions: [Prediction] = []
    for scheme in isAny ? Scheme.allCases : asked.compactMap({ $0 }) {
      do {
        predictions.append(
          try model.prediction(scheme, ranks: ranks, order: try schemeOptions.order))
      } catch let error as AttentionError {
        // Of all schemes those are shown that serve; one that was asked for must.
        if !isAny || error.argument == "ranks" {
          throw error
        }
      }
    }
    let least = predictions.map(\.time).min() ?? 0
    let best = predictions.filter { $0.time <= 1.01 * least }
      .min { ($0.bytes, $0.memory) < ($1.bytes, $1.memory) }
    let shape = problem.shape
    for prediction in predictions {
      let wins = prediction.scheme == best?.scheme
      grid.add([
        "\(shape.queryLength)", strategy.spec(for: problem), "\(shape.heads)", "\(shape.kvHeads)",
        "\(shape.headDim)", "\(problem.visibility.causal)", "\(ranks)",
        "\(problemOptions.threads)", prediction.scheme.rawValue, "\(prediction.time)",
        "\(prediction.compute)", "\(prediction.communication)", "\(prediction.hidden)",
        prediction.hiddenFrom.map { "\($0)" } ?? "", "\(prediction.bytes)",
        "\(prediction.memory)", "\(wins)", "\(rate / 1e9)", "\(link.bytesPerSecond)",
        "\(link.latency)",
      ])
      table.add([
        SizeText.short(shape.queryLength), strategy.spec(for: problem), "\(ranks)",
        prediction.scheme.rawValue, TimeSpan.rounded(seconds: prediction.time),
        TimeSpan.rounded(seconds: prediction.compute),
        TimeSpan.rounded(seconds: prediction.communication),
        String(format: "%.0f%%", 100 * prediction.hidden),
        prediction.hiddenFrom.map { "n = \($0)" } ?? "-",
        ByteCount(prediction.bytes).rounded, ByteCount(prediction.memory).rounded,
        wins ? "<- wins" : "",
      ])
    }
  }
}
