import ArgumentParser
import Attention
import AttentionBench
import DistributedAttention
import Foundation
import MachineTopology
import MessagePassing
import TextTable

/// `attnbench-mpi sweep`: what runs over ranks take, move and hold.
struct SweepCommand: RankCommand {
  static let configuration = CommandConfiguration(
    commandName: "sweep",
    abstract: "Time strategies over ranks; bytes moved against the formula, memory, waiting.",
    discussion: """
      A time is from when all ranks are ready to when the last one is done. With --compare rank 0 computes the \
      same in one process with as many workers as all ranks have, in turns with the ranks.
      With --shard cells every cell runs on one rank alone, as attnbench sweep runs it, and -o is a folder such \
      as that writes: cells that are there already are not run again.
      Example: mpirun -n 2 attnbench-mpi sweep --n 8k..32k --strategy flash --causal --scheme ring,alltoall
      Example: mpirun -n 8 attnbench-mpi sweep --shard cells --n 1k..64k --strategy 'flash,window(512)' -o out
      """)

  enum Shard: String, ExpressibleByArgument, CaseIterable {
    /// The rows of every problem are dealt to all ranks.
    case rows
    /// The cells are.
    case cells
  }

  @OptionGroup var problemOptions: ProblemOptions
  @OptionGroup var schemeOptions: SchemeOptions

  @Option(
    help: "What is dealt to ranks: rows (of every problem, to all ranks) or cells (each to one).")
  var shard = Shard.rows

  @OptionGroup(title: "Cells") var cellOptions: CellOptions

  @Option(parsing: .unconditional, help: "Timed runs, after one that is not (default: 5).")
  var repeats: Int?

  @Option(help: "Begin no further run after this time (default: 60s).")
  var seconds: String?

  @Flag(help: "Also time one process with as many workers.")
  var compare = false

  @Flag(
    help: "Also predict, from a rate that all ranks measure side by side and the link between them."
  )
  var predict = false

  @Option(parsing: .unconditional, help: "Query rows held to fp64; 0 for none (default: 16).")
  var checkRows: Int?

  @Option(help: "Check where the tensors on rank 0 take no more than this (default: 4GiB).")
  var checkMemory: String?

  @Option(help: "Hold messages up as a link of this rate would: 10GB/s.")
  var simulateLink: String?

  @Option(help: "The simulated link's latency (default: 2us).")
  var latency: String?

  @Option(
    name: [.customShort("o"), .long],
    help: "CSV file that grows a row a cell; of --shard cells a folder.")
  var output: String?

  @Option(help: "How long a rank may be silent.")
  var timeLimit = "5m"

  enum Columns: CSVColumns {
    static let names = [
      "n", "strategy", "class", "scheme", "shards", "causal", "batch", "heads", "kv_heads",
      "head_dim", "ranks", "threads", "time_s", "time_min_s", "runs", "wait_s", "blocks",
      "blocks_ready", "bytes_moved", "bytes_formula", "workspace_bytes", "shard_bytes",
      "balance", "one_process_s", "one_process_min_s", "ratio", "status", "packed",
      "link_bytes_per_s", "latency_s", "rank_gflops", "predicted_s", "predicted_ratio",
    ]
  }

  private struct Settings {
    let sizes: [Int]
    let packed: PackedSequences?
    let strategies: [any AttentionStrategy]
    let schemes: [Scheme?]
    let order: ShardOrder?
    let team: WorkerTeam
    let repeats: Int
    let seconds: Double
    let checkRows: Int
    let checkBytes: Int
    /// A simulated one.
    let link: LinkModel?
    /// Whether workers of all ranks are more than there are cores.
    let sharesCores: Bool
  }

  func run(on communicator: Communicator) throws {
    if shard == .cells {
      try communicator.agree({ try refuseBesideCells() }, failure: Program.outcome)
      return try CellSweep(
        problemOptions: problemOptions, cellOptions: cellOptions, output: output
      ).run(on: communicator)
    }
    let hosts = try RankHosts(of: communicator)
    let settings = try communicator.agree({ try readSettings(hosts) }, failure: Program.outcome)
    if communicator.rank == 0 {
      Console.note(
        "\(communicator.size) ranks of \(problemOptions.threads) thread(s), \(Communicator.libraryName)"
          + (settings.sharesCores ? ", which share cores" : ""))
    }
    let file = try communicator.agree(
      { try OpenFile(communicator.rank == 0 ? output : nil) }, failure: Program.outcome)
    let link =
      try predict ? settings.link ?? LinkModel.measured(between: communicator) : settings.link
    var rows: [TextRow<Columns>] = []
    for size in settings.sizes {
      for strategy in settings.strategies {
        for scheme in settings.schemes {
          let row = try measure(size, strategy, scheme, link, settings, communicator)
          guard communicator.rank == 0 else { continue }
          rows.append(row)
          Console.note(progress(row))
          try file.append(row)
        }
      }
    }
    if communicator.rank == 0 { Console.print(table(rows)) }
    let wrong = rows.count { $0.cells["status"] == "wrong" }
    let total = try communicator.gatherAll([Double(wrong)])[0][0]
    if total > 0 {
      throw AgreedFailure(
        "error: \(Int(total)) cell(s) are wrong: their output misses the bound of their definition",
        isMineToPrint: communicator.rank == 0, exitCode: 1)
    }
  }

  /// The CSV file of rank 0, if one was asked for.
  private final class OpenFile {
    private var file: GrowingCSV<Columns>?

    init(_ path: String?) throws {
      if let path { file = try GrowingCSV(path: path) }
    }

    func append(_ row: TextRow<Columns>) throws(RecordError) { try file?.append(row) }
  }

  /// - Throws: `PlanError` naming an option that means nothing where each rank measures alone.
  private func refuseBesideCells() throws(PlanError) {
    for (option, value) in [
      ("--repeats", repeats.map { "\($0)" }), ("--seconds", seconds),
      ("--scheme", schemeOptions.scheme), ("--shards", schemeOptions.shards),
      ("--compare", compare ? "given" : nil), ("--predict", predict ? "given" : nil),
      ("--check-rows", checkRows.map { "\($0)" }), ("--check-memory", checkMemory),
      ("--simulate-link", simulateLink), ("--latency", latency),
      ("--packed", problemOptions.packed),
    ] {
      guard let value else { continue }
      throw PlanError(
        argument: option, value: value, rule: "with --shard cells each rank measures alone",
        fix: "leave it out, or take --shard rows")
    }
  }

  private func readSettings(_ hosts: RankHosts) throws -> Settings {
    let (runs, checked) = (repeats ?? 5, checkRows ?? 16)
    guard runs >= 1, checked >= 0 else {
      throw PlanError(
        argument: runs < 1 ? "--repeats" : "--check-rows",
        value: "\(runs < 1 ? runs : checked)", rule: "this is too few",
        fix: "write 1 or more runs, 0 or more rows")
    }
    for (option, value) in cellOptions.given {
      throw PlanError(
        argument: option, value: value, rule: "is for cells that are measured one by one",
        fix: "add --shard cells, or leave it out")
    }
    if predict { try problemOptions.refusePacked("--predict") }
    if let latency, simulateLink == nil {
      throw PlanError(
        argument: "--latency", value: latency, rule: "is that of a simulated link",
        fix: "give --simulate-link too")
    }
    return Settings(
      sizes: try problemOptions.sizes, packed: try problemOptions.packedSequences,
      strategies: try problemOptions.strategies, schemes: try schemeOptions.schemes,
      order: try schemeOptions.order, team: try problemOptions.team(),
      repeats: runs,
      seconds: try TimeSpan(parsing: seconds ?? "60s", argument: "--seconds").seconds,
      checkRows: checked,
      checkBytes: try ByteCount(parsing: checkMemory ?? "4GiB", argument: "--check-memory").bytes,
      link: try simulateLink.map {
        try link($0, latency: latency ?? "2us", argument: "--simulate-link")
      },
      sharesCores: try hosts.mostOnOne * problemOptions.threads
        > MachineTopology.host().cores.count)
  }

  private func measure(
    _ size: Int, _ strategy: any AttentionStrategy, _ scheme: Scheme?, _ link: LinkModel?,
    _ settings: Settings, _ communicator: Communicator
  ) throws -> TextRow<Columns> {
    let problem = try communicator.agree(
      { try problemOptions.problem(size) }, failure: Program.outcome)
    let (plan, tensors) = try communicator.agree(
      {
        let plan = try DistributedPlan(
          strategy, for: problem, packed: settings.packed, scheme: scheme, order: settings.order,
          link: settings.link, communicator: communicator, team: settings.team)
        return (plan, try plan.randomTensors(seed: problemOptions.seed))
      }, failure: Program.outcome)
    let forecast = try link.flatMap { link in
      predict ? try Forecast(self, plan, link, settings, communicator) : nil
    }
    let one = try communicator.agree(
      {
        try compare && communicator.rank == 0
          ? WholeRun(
            plan, seed: problemOptions.seed,
            team: WorkerTeam(threads: communicator.size * problemOptions.threads)) : nil
      }, failure: Program.outcome)
    tensors.poison()
    _ = try plan.run(tensors)
    try one?.run()
    var times: [Double] = []
    var alone: [Double] = []
    var waits: [Double] = []
    var balances: [Double] = []
    var rates: [Double] = []
    var predictions: [Double] = []
    var counts = RunCounts()
    let start = monotonicSeconds()
    while true {
      // In turns with the runs: what a machine gives changes from one second to the next.
      if let (rate, seconds) = try forecast?.predict() {
        rates.append(rate / 1e9)
        predictions.append(seconds)
      }
      try communicator.barrier("beginning a run together")
      let begin = monotonicSeconds()
      counts = try plan.run(tensors)
      let spent = monotonicSeconds() - begin
      let all = try communicator.gatherAll([spent, counts.waitSeconds])
      times.append(all.map { $0[0] }.max() ?? spent)
      waits.append(all.map { $0[1] }.max() ?? 0)
      let own = all.map { max($0[0] - $0[1], .leastNonzeroMagnitude) }
      balances.append((own.max() ?? 0) * Double(own.count) / own.reduce(0, +))
      if let one {
        let begin = monotonicSeconds()
        try one.run()
        alone.append(monotonicSeconds() - begin)
      }
      let goesOn =
        times.count < settings.repeats && monotonicSeconds() - start < settings.seconds
      // Rank 0 decides for all.
      if try communicator.gatherAll([goesOn ? 1 : 0])[0][0] == 0 { break }
    }
    let status = try check(plan, tensors, settings)
    let shard = [tensors.query, tensors.key, tensors.value, tensors.output, tensors.logSumExp]
      .reduce(0) { $0 + 4 * $1.shape.count }
    let facts = try communicator.gatherAll([
      Double(counts.bytesSent), Double(plan.workspaceBytes), counts.waitSeconds,
      Double(counts.blocks), Double(counts.blocksReady), Double(shard),
    ])
    func largest(_ index: Int) -> String { "\(Int(facts.map { $0[index] }.max() ?? 0))" }
    func sum(_ index: Int) -> String { "\(Int(facts.reduce(0) { $0 + $1[index] }))" }
    func median(_ values: [Double]) -> String {
      SampleSummary(values).map { "\($0.median)" } ?? ""
    }
    let shape = problem.shape
    return TextRow(cells: [
      "n": "\(size)", "strategy": strategy.spec(for: problem),
      "class": strategy.operatorClass.rawValue, "scheme": plan.scheme.rawValue,
      "shards": plan.queries.order.rawValue, "causal": "\(problem.visibility.causal)",
      "batch": "\(shape.batch)", "heads": "\(shape.heads)", "kv_heads": "\(shape.kvHeads)",
      "head_dim": "\(shape.headDim)", "ranks": "\(communicator.size)",
      "threads": "\(problemOptions.threads)", "time_s": median(times),
      "time_min_s": times.min().map { "\($0)" } ?? "", "runs": "\(times.count)",
      "wait_s": median(waits), "blocks": sum(3), "blocks_ready": sum(4),
      "bytes_moved": largest(0), "bytes_formula": "\(plan.traffic.largest)",
      "workspace_bytes": largest(1), "shard_bytes": largest(5), "balance": median(balances),
      "one_process_s": median(alone), "one_process_min_s": alone.min().map { "\($0)" } ?? "",
      "ratio": median(zip(times, alone).map { $0 / $1 }), "status": status,
      "packed": settings.packed.map { "\($0.count)" } ?? "",
      "link_bytes_per_s": link.map { "\($0.bytesPerSecond)" } ?? "",
      "latency_s": link.map { "\($0.latency)" } ?? "",
      "rank_gflops": median(rates), "predicted_s": median(predictions),
      "predicted_ratio": median(zip(times, predictions).map { $0 / $1 }),
    ])
  }

  /// What runs should take, from a rate that is measured anew before each.
  private struct Forecast {
    private let plan: DistributedPlan
    private let probe: RateProbe
    private let link: LinkModel
    private let sharesCores: Bool
    private let communicator: Communicator

    /// Seconds that a rate is measured for.
    private static let seconds = 0.5

    init(
      _ command: SweepCommand, _ plan: DistributedPlan, _ link: LinkModel, _ settings: Settings,
      _ communicator: Communicator
    ) throws {
      self.plan = plan
      self.link = link
      self.communicator = communicator
      sharesCores = settings.sharesCores
      probe = try communicator.agree(
        {
          try RateProbe(
            plan.strategy, plan.problem, scheme: plan.scheme, order: plan.queries.order,
            rows: 8192, seed: command.problemOptions.seed, communicator: communicator,
            team: settings.team)
        }, failure: Program.outcome)
    }

    /// A rank's rate in flop/s, and the seconds that the next run should take.
    func predict() throws -> (rate: Double, seconds: Double) {
      let rate = try probe.measure(
        seconds: Self.seconds, pace: .sustained, sharesCores: sharesCores)
      return try communicator.agree(
        {
          let model = try PredictionModel(plan.strategy, plan.problem, rate: rate, link: link)
          let prediction = try model.prediction(
            plan.scheme, ranks: communicator.size, order: plan.queries.order)
          return (rate.flopsPerSecond, prediction.time)
        }, failure: Program.outcome)
    }
  }

  /// Holds the last run's result to the definition: `ok`, `wrong`, or `unchecked` where the whole problem is
  /// too large for rank 0.
  private func check(
    _ plan: DistributedPlan, _ tensors: ShardTensors, _ settings: Settings
  ) throws -> String {
    // Inputs, their copies that are moved by a rounding, and the output.
    let needed = 3 * plan.problem.tensorBytes
    guard settings.checkRows > 0, needed <= settings.checkBytes else { return "unchecked" }
    guard let result = try plan.gather(tensors) else { return "" }
    let verification = try plan.hold(
      result, seed: problemOptions.seed, rows: settings.checkRows, team: settings.team)
    return verification.isFailure ? "wrong" : "ok"
  }
}

extension SweepCommand {
  /// A line for whoever waits.
  private func progress(_ row: TextRow<Columns>) -> String {
    let words = [
      row.cells["strategy"] ?? "", row.cells["scheme"] ?? "", "n=\(row.cells["n"] ?? "")",
      row.time("time_s"), row.cells["status"] ?? "",
    ]
    return words.joined(separator: " ")
  }

  private func table(_ rows: [TextRow<Columns>]) -> String {
    text(rows) { row in
      let blocks = row.cells["blocks"] ?? "0"
      let ratio = row.number("ratio").map { String(format: "%.3f", $0) } ?? "-"
      let predicted = row.number("predicted_ratio").map { String(format: "%.3f", $0) }
      var columns = [
        Column(
          title: "n", value: row.number("n").map { SizeText.short(Int($0)) } ?? "", align: .right),
        Column(title: "strategy", value: row.cells["strategy"] ?? ""),
        Column(title: "scheme", value: row.cells["scheme"] ?? ""),
        Column(title: "shards", value: row.cells["shards"] ?? ""),
        Column(title: "time", value: row.time("time_s"), align: .right),
        Column(title: "waiting", value: row.time("wait_s"), align: .right),
        Column(
          title: "ready",
          value: blocks == "0" ? "-" : "\(row.cells["blocks_ready"] ?? "")/\(blocks)",
          align: .right),
        Column(title: "moved", value: row.bytes("bytes_moved"), align: .right),
        Column(title: "formula", value: row.bytes("bytes_formula"), align: .right),
        Column(title: "workspace", value: row.bytes("workspace_bytes"), align: .right),
        Column(
          title: "balance",
          value: row.number("balance").map { String(format: "%.3f", $0) } ?? "", align: .right),
      ]
      if compare {
        columns.append(
          Column(title: "1 process", value: row.time("one_process_s"), align: .right))
        columns.append(Column(title: "ratio", value: ratio, align: .right))
      }
      if predict {
        columns.append(Column(title: "predicted", value: row.time("predicted_s"), align: .right))
        columns.append(Column(title: "time/predicted", value: predicted ?? "-", align: .right))
      }
      return columns + [Column(title: "status", value: row.cells["status"] ?? "")]
    }
  }
}

extension TextRow {
  fileprivate func number(_ column: String) -> Double? { cells[column].flatMap(Double.init) }

  fileprivate func time(_ column: String) -> String {
    number(column).map { TimeSpan.rounded(seconds: $0) } ?? "-"
  }

  fileprivate func bytes(_ column: String) -> String {
    number(column).map { ByteCount(Int($0)).rounded } ?? "-"
  }
}
