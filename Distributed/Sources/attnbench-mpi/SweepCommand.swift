import ArgumentParser
import Attention
import AttentionBench
import DistributedAttention
import Foundation
import MachineTopology
import MessagePassing

/// `attnbench-mpi sweep`: what runs over ranks take, move and hold.
struct SweepCommand: RankCommand {
  static let configuration = CommandConfiguration(
    commandName: "sweep",
    abstract: "Time strategies over ranks; bytes moved against the formula, memory, waiting.",
    discussion: """
      A time is from when all ranks are ready to when the last one is done. With --compare rank 0 computes the \
      same in one process with as many workers as all ranks have, in turns with the ranks.
      Example: mpirun -n 2 attnbench-mpi sweep --n 8k..32k --strategy flash --causal --scheme ring,alltoall
      """)

  @OptionGroup var problemOptions: ProblemOptions
  @OptionGroup var schemeOptions: SchemeOptions

  @Option(parsing: .unconditional, help: "Timed runs of a cell, after one that is not.")
  var repeats = 5

  @Option(help: "Begin no further run of a cell after this time.")
  var seconds = "60s"

  @Flag(help: "Also time one process with as many workers.")
  var compare = false

  @Option(parsing: .unconditional, help: "Query rows held to fp64; 0 for none.")
  var checkRows = 16

  @Option(help: "Check where the whole problem's tensors on rank 0 take no more than this.")
  var checkMemory = "4GiB"

  @Option(help: "Hold ring's blocks up as a link of this rate would: 10GB/s.")
  var simulateLink: String?

  @Option(help: "The simulated link's latency.")
  var latency = "2us"

  @Option(name: [.customShort("o"), .long], help: "CSV file; replaced after every cell.")
  var output: String?

  @Option(help: "How long a rank may be silent.")
  var timeLimit = "5m"

  private static let columns = [
    "n", "strategy", "class", "scheme", "shards", "causal", "batch", "heads", "kv_heads",
    "head_dim", "ranks", "threads", "time_s", "time_min_s", "runs", "wait_s", "blocks",
    "blocks_ready", "bytes_moved", "bytes_formula", "workspace_bytes", "shard_bytes",
    "balance", "one_process_s", "one_process_min_s", "ratio", "status",
  ]

  private static let tableColumns = [
    "n", "strategy", "scheme", "shards", "time", "waiting", "ready", "moved", "formula",
    "workspace", "balance", "1 process", "ratio", "status",
  ]

  private struct Settings {
    let sizes: [Int]
    let strategies: [any AttentionStrategy]
    let schemes: [Scheme?]
    let order: ShardOrder?
    let team: WorkerTeam
    let seconds: Double
    let checkBytes: Int
    let link: LinkModel?
  }

  func run(on communicator: Communicator) throws {
    let settings: Settings = try communicator.agree(readSettings, failure: Program.outcome)
    var grid = TextGrid(Self.columns)
    let widths = [7, 24, 10, 10, 9, 9, 7, 10, 10, 10, 9, 9, 6, 9]
    if communicator.rank == 0 {
      Console.note(
        "\(communicator.size) ranks of \(problemOptions.threads) thread(s), \(Communicator.libraryName)"
      )
    }
    var wrong = 0
    for size in settings.sizes {
      for strategy in settings.strategies {
        for scheme in settings.schemes {
          let cell = try measure(size, strategy, scheme, settings, communicator)
          if cell.row["status"] == "wrong" { wrong += 1 }
          guard communicator.rank == 0 else { continue }
          if grid.rows.isEmpty { Console.print(TextGrid.line(Self.tableColumns, widths)) }
          grid.add(Self.columns.map { cell.row[$0] ?? "" })
          Console.print(TextGrid.line(cell.table, widths))
          if let output { try grid.write(to: output) }
        }
      }
    }
    let total = try communicator.gatherAll([Double(wrong)])[0][0]
    if total > 0 {
      throw AgreedFailure(
        "error: \(Int(total)) cell(s) are wrong: their output misses the bound of their definition",
        isMineToPrint: communicator.rank == 0, exitCode: 1)
    }
  }

  private func readSettings() throws -> Settings {
    guard repeats >= 1, checkRows >= 0 else {
      throw PlanError(
        argument: repeats < 1 ? "--repeats" : "--check-rows",
        value: "\(repeats < 1 ? repeats : checkRows)", rule: "this is too few",
        fix: "write 1 or more runs, 0 or more rows")
    }
    return Settings(
      sizes: try problemOptions.sizes, strategies: try problemOptions.strategies,
      schemes: try schemeOptions.schemes, order: try schemeOptions.order,
      team: try problemOptions.team(),
      seconds: try TimeSpan(parsing: seconds, argument: "--seconds").seconds,
      checkBytes: try ByteCount(parsing: checkMemory, argument: "--check-memory").bytes,
      link: try simulateLink.map {
        try link($0, latency: latency, argument: "--simulate-link")
      })
  }

  private func measure(
    _ size: Int, _ strategy: any AttentionStrategy, _ scheme: Scheme?, _ settings: Settings,
    _ communicator: Communicator
  ) throws -> (row: [String: String], table: [String]) {
    let problem = try communicator.agree(
      { try problemOptions.problem(size) }, failure: Program.outcome)
    let (plan, tensors) = try communicator.agree(
      {
        let plan = try DistributedPlan(
          strategy, for: problem, scheme: scheme, order: settings.order, link: settings.link,
          communicator: communicator, team: settings.team)
        return (plan, try plan.randomTensors(seed: problemOptions.seed))
      }, failure: Program.outcome)
    let one =
      try compare && communicator.rank == 0
      ? OneProcess(plan, threads: communicator.size * problemOptions.threads, problemOptions.seed)
      : nil
    tensors.poison()
    _ = try plan.run(tensors)
    one?.run()
    var times: [Double] = []
    var alone: [Double] = []
    var waits: [Double] = []
    var balances: [Double] = []
    var counts = RunCounts()
    let start = monotonicSeconds()
    while true {
      try communicator.barrier("beginning a run together")
      let begin = monotonicSeconds()
      counts = try plan.run(tensors)
      let spent = monotonicSeconds() - begin
      let all = try communicator.gatherAll([spent, counts.waitSeconds])
      times.append(all.map { $0[0] }.max() ?? spent)
      waits.append(all.map { $0[1] }.max() ?? 0)
      let own = all.map { max($0[0] - $0[1], .leastNonzeroMagnitude) }
      balances.append((own.max() ?? 0) * Double(own.count) / own.reduce(0, +))
      if let one { alone.append(one.run()) }
      let goesOn =
        times.count < repeats && monotonicSeconds() - start < settings.seconds
      // Rank 0 decides for all.
      if try communicator.gatherAll([goesOn ? 1 : 0])[0][0] == 0 { break }
    }
    let status = try check(plan, tensors, settings, communicator)
    let shard = [tensors.query, tensors.key, tensors.value, tensors.output, tensors.logSumExp]
      .reduce(0) { $0 + 4 * $1.shape.count }
    let facts = try communicator.gatherAll([
      Double(counts.bytesSent), Double(plan.workspaceBytes), counts.waitSeconds,
      Double(counts.blocks), Double(counts.blocksReady), Double(shard),
    ])
    func largest(_ index: Int) -> Double { facts.map { $0[index] }.max() ?? 0 }
    func sum(_ index: Int) -> Int { Int(facts.reduce(0) { $0 + $1[index] }) }
    let time = times.median
    let ratio = alone.isEmpty ? nil : zip(times, alone).map { $0 / $1 }.median
    let balance = balances.median
    let shape = problem.shape
    let row: [String: String] = [
      "n": "\(size)", "strategy": strategy.spec(for: problem),
      "class": strategy.operatorClass.rawValue, "scheme": plan.scheme.rawValue,
      "shards": plan.queries.order.rawValue, "causal": "\(problem.visibility.causal)",
      "batch": "\(shape.batch)", "heads": "\(shape.heads)", "kv_heads": "\(shape.kvHeads)",
      "head_dim": "\(shape.headDim)", "ranks": "\(communicator.size)",
      "threads": "\(problemOptions.threads)", "time_s": "\(time)",
      "time_min_s": "\(times.min() ?? time)", "runs": "\(times.count)", "wait_s": "\(waits.median)",
      "blocks": "\(sum(3))", "blocks_ready": "\(sum(4))", "bytes_moved": "\(Int(largest(0)))",
      "bytes_formula": "\(plan.traffic.largest)", "workspace_bytes": "\(Int(largest(1)))",
      "shard_bytes": "\(Int(largest(5)))", "balance": "\(balance)",
      "one_process_s": alone.isEmpty ? "" : "\(alone.median)",
      "one_process_min_s": alone.min().map { "\($0)" } ?? "",
      "ratio": ratio.map { "\($0)" } ?? "", "status": status,
    ]
    let table = [
      SizeText.short(size), strategy.spec(for: problem), plan.scheme.rawValue,
      plan.queries.order.rawValue, TimeSpan.rounded(seconds: time),
      TimeSpan.rounded(seconds: waits.median), sum(3) == 0 ? "-" : "\(sum(4))/\(sum(3))",
      ByteCount(Int(largest(0))).rounded, ByteCount(plan.traffic.largest).rounded,
      ByteCount(Int(largest(1))).rounded, String(format: "%.3f", balance),
      alone.isEmpty ? "-" : TimeSpan.rounded(seconds: alone.median),
      ratio.map { String(format: "%.3f", $0) } ?? "-", status,
    ]
    return (row, table)
  }

  /// Holds the last run's result to the definition: `ok`, `wrong`, or `unchecked` where the whole problem is
  /// too large for rank 0.
  private func check(
    _ plan: DistributedPlan, _ tensors: ShardTensors, _ settings: Settings,
    _ communicator: Communicator
  ) throws -> String {
    // Inputs, their copies that are moved by a rounding, and the output.
    let needed = 3 * plan.problem.tensorBytes
    guard checkRows > 0, needed <= settings.checkBytes else { return "unchecked" }
    guard let result = try plan.gather(tensors) else { return "" }
    let verification = try DistributedPlan.hold(
      output: result.output, logSumExp: result.logSumExp, to: plan.strategy, plan.problem,
      seed: problemOptions.seed, rows: checkRows, team: settings.team)
    return verification.isFailure ? "wrong" : "ok"
  }
}

/// The same problem in this process alone.
private final class OneProcess {
  private let tensors: ShardTensors
  private let plan: any AttentionPlan

  init(_ distributed: DistributedPlan, threads: Int, _ seed: UInt64) throws {
    tensors = try ShardTensors(
      whole: distributed.problem, operands: distributed.strategy.operands, seed: seed)
    plan = try distributed.strategy.plan(
      for: distributed.problem, on: try WorkerTeam(threads: threads))
  }

  @discardableResult
  func run() -> Double {
    let start = monotonicSeconds()
    plan.execute(
      AttentionOperands(
        tensors.inputs, output: tensors.output.mutableView,
        logSumExp: tensors.logSumExp.mutableView))
    return monotonicSeconds() - start
  }
}

extension [Double] {
  /// The middle one; of an even number the mean of the two.
  fileprivate var median: Double {
    let sorted = sorted()
    guard !sorted.isEmpty else { return 0 }
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2
  }
}
