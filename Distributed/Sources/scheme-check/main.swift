// Every scheme, with strategies and shapes that are odd in one way or another, against one process: under
// mpirun, with as many ranks as one likes. Prints a line a check, and exits with 1 on all ranks when one fails.

import Attention
import AttentionBench
import DistributedAttention
import MachineTopology
import MessagePassing

struct Check {
  let strategy: String
  let schemes: [Scheme]
  let problem: AttentionProblem
  /// Sequences that the problem's rows are.
  var packed: PackedSequences?
  var order: ShardOrder?
  /// Held to one process alone: the definition has rows where nothing is written.
  var hasUnusedRows = false
}

/// Problems that nobody chose: lengths, heads, dimensions, patterns and packed sequences drawn from a seed.
func drawn(_ count: Int, ranks: Int, seed: UInt64) throws -> [Check] {
  var generator = SeededGenerator(seed: seed)
  func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &generator) }
  return try (0..<count).map { _ in
    let kvHeads = number(1...6)
    var lengths = (0..<number(1...5)).map { _ in number(1...500) }
    lengths[0] += ranks
    let rows = lengths.reduce(0, +)
    let isPacked = number(0...2) == 0
    let strategies = [
      "flash", "full", "window(\(number(1...200)))", "strided(\(number(2...40)))",
      "dilated(\(number(2...30)), \(number(1...9)))", "chunked(\(number(1...300)))",
      "window(\(number(8...64)), sinks: \(number(1...8)))",
    ]
    let offsets = lengths.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }
    return Check(
      strategy: strategies[number(0...strategies.count - 1)],
      schemes: [.ring, .allgather, .alltoall],
      problem: try AttentionProblem(
        AttentionShape(
          batch: isPacked ? 1 : number(1...2), heads: kvHeads * number(1...3), kvHeads: kvHeads,
          queryLength: rows, headDim: number(1...70), valueDim: number(1...70)),
        visibility: Visibility(causal: number(0...1) == 1)),
      packed: isPacked ? try PackedSequences(queryOffsets: offsets) : nil,
      order: [nil, ShardOrder.contiguous, .zigzag][number(0...2)])
  }
}

func checks(ranks: Int, seed: UInt64) throws -> [Check] {
  func shape(
    _ n: Int, keys: Int? = nil, batch: Int = 1, heads: Int = 4, kvHeads: Int = 4, d: Int = 16,
    dV: Int? = nil
  ) throws -> AttentionShape {
    try AttentionShape(
      batch: batch, heads: heads, kvHeads: kvHeads, queryLength: n, keyLength: keys, headDim: d,
      valueDim: dV)
  }
  let causal = Visibility(causal: true)
  let softmax: [Scheme] = [.ring, .allgather, .alltoall]
  var checks: [Check] = []
  // Any length, causal and not, both orders.
  for n in [ranks, ranks + 1, 2 * ranks - 1, 67, 333, 1000] {
    for visibility in [causal, Visibility()] {
      for order in [ShardOrder.contiguous, .zigzag] {
        checks.append(
          Check(
            strategy: "flash", schemes: [.ring, .allgather],
            problem: try AttentionProblem(shape(n), visibility: visibility), order: order))
      }
    }
  }
  // Every static pattern; grouped heads, values of their own dimension.
  for strategy in [
    "flash", "full", "window(37)", "window(20, sinks: 4)", "window(16, global: 3)", "strided(16)",
    "strided", "fixed(32, 4)", "fixed", "dilated(9, 5)", "bigbird(16, 3, 2, 1)", "chunked(50)",
    "local_m(11)",
  ] {
    for visibility in [causal, Visibility()] {
      checks.append(
        Check(
          strategy: strategy, schemes: softmax,
          problem: try AttentionProblem(
            shape(611, heads: 8, kvHeads: 4, d: 24, dV: 40), visibility: visibility)))
    }
  }
  checks.append(
    Check(
      strategy: "strided(16)", schemes: [.ring, .allgather],
      problem: try AttentionProblem(shape(503), visibility: causal), order: .contiguous))
  for strategy in ["window(37)", "window(20, sinks: 4)", "chunked(50)", "local_m(11)"] {
    for visibility in [causal, Visibility()] {
      checks.append(
        Check(
          strategy: strategy, schemes: [.halo],
          problem: try AttentionProblem(
            shape(1211, heads: 6, kvHeads: 2), visibility: visibility)))
    }
  }
  // More than a block of keys a rank, and more than a piece of queries.
  checks.append(
    Check(
      strategy: "flash", schemes: [.ring],
      problem: try AttentionProblem(
        shape(9000 * ranks, heads: 2, kvHeads: 1, d: 64, dV: 128), visibility: causal)))
  // Fewer queries than keys, lengths, windows of the problem, prefixes, sinks, softcap, multi-query.
  checks.append(
    Check(
      strategy: "flash", schemes: softmax,
      problem: try AttentionProblem(shape(97, keys: 301), visibility: causal)))
  checks.append(
    Check(
      strategy: "flash", schemes: [.ring, .allgather],
      problem: try AttentionProblem(
        shape(200, batch: 3, heads: 3, kvHeads: 1),
        visibility: Visibility(
          causal: true, queryLengths: [200, 7, 150], keyLengths: [200, 20, 160])),
      hasUnusedRows: true))
  checks.append(
    Check(
      strategy: "flash", schemes: [.ring, .allgather],
      problem: try AttentionProblem(
        shape(200, batch: 3, heads: 3, kvHeads: 1),
        visibility: Visibility(causal: true, keyLengths: [200, 20, 160]))))
  for strategy in ["flash", "full"] {
    checks.append(
      Check(
        strategy: strategy, schemes: softmax,
        problem: try AttentionProblem(
          shape(210),
          scoring: Scoring(scale: 0.3, softcap: 20, sinkLogits: [0.5, -1, 2, 0]),
          visibility: Visibility(causal: true, prefixLengths: [60], windowLeft: 80))))
  }
  // Packed sequences: of all lengths, empty ones among them, fewer queries than keys, more than a block.
  for lengths in [[0, 333, 334, 700], [0, 1, 1, 2, 67, 611], [0, 5, 200, 400, 600, 800]] {
    let packed = try PackedSequences(queryOffsets: lengths)
    let rows = packed.queryOffsets[packed.count]
    for strategy in ["flash", "window(37)", "strided", "chunked(50)"] {
      for visibility in [causal, Visibility()] {
        checks.append(
          Check(
            strategy: strategy, schemes: softmax,
            problem: try AttentionProblem(
              shape(rows, heads: 8, kvHeads: 4, d: 24, dV: 40), visibility: visibility),
            packed: packed))
      }
    }
    checks.append(
      Check(
        strategy: "window(20, sinks: 2)", schemes: [.halo],
        problem: try AttentionProblem(shape(rows), visibility: causal), packed: packed))
    checks.append(
      Check(
        strategy: "topk(20)", schemes: [.alltoall],
        problem: try AttentionProblem(shape(rows), visibility: causal), packed: packed))
  }
  checks.append(
    Check(
      strategy: "flash", schemes: softmax,
      problem: try AttentionProblem(
        shape(310, keys: 500), scoring: Scoring(softcap: 20, sinkLogits: [0.5, -1, 2, 0]),
        visibility: causal),
      packed: try PackedSequences(queryOffsets: [0, 100, 310], keyOffsets: [0, 230, 500])))
  checks.append(
    Check(
      strategy: "flash", schemes: [.ring],
      problem: try AttentionProblem(
        shape(9000 * ranks, heads: 2, kvHeads: 1, d: 64, dV: 128), visibility: causal),
      packed: try PackedSequences(queryOffsets: [0, 100, 7000 * ranks, 9000 * ranks])))
  checks += try drawn(24, ranks: ranks, seed: seed)
  // Whole heads: what selects keys, other functions, operands of their own.
  for strategy in [
    "topk(20)", "topblocks(16, 3)", "vertical_slash(8, 8)", "linear", "linear(identity)", "gated",
    "gated_delta", "delta",
  ] {
    checks.append(
      Check(
        strategy: strategy, schemes: [.alltoall],
        problem: try AttentionProblem(shape(301, heads: 8, kvHeads: 4), visibility: causal)))
  }
  // States from rank to rank.
  for strategy in ["linear(identity)", "retention", "gated", "delta", "gated_delta"] {
    checks.append(
      Check(
        strategy: strategy, schemes: [.states],
        problem: try AttentionProblem(
          shape(487, batch: 2, heads: 4, kvHeads: 2, d: 16, dV: 24), visibility: causal)))
  }
  return checks
}

func run(on communicator: Communicator) throws {
  let team = try WorkerTeam(threads: CommandLine.arguments.contains("--two-threads") ? 2 : 1)
  let whole = try WorkerTeam(threads: 1)
  var failures = 0
  var count = 0
  // The last argument; without one the same problems every time.
  let seed = CommandLine.arguments.last.flatMap { UInt64($0) } ?? 1
  for check in try checks(ranks: communicator.size, seed: seed) {
    let strategy = try StrategyRegistry.standard.strategy(check.strategy)
    for scheme in check.schemes {
      if scheme == .alltoall, check.problem.shape.kvHeads < communicator.size { continue }
      let plan = try communicator.agree {
        try DistributedPlan(
          strategy, for: check.problem, packed: check.packed, scheme: scheme, order: check.order,
          communicator: communicator, team: team)
      }
      let tensors = try plan.randomTensors(seed: 3)
      let sent = try plan.run(tensors).bytesSent
      let allSent = try communicator.gatherAll([Double(sent)]).map { Int($0[0]) }
      let countsOperands = !strategy.operands.isEmpty && scheme == .alltoall
      let bytesAreRight = countsOperands || allSent == plan.traffic.bytes
      guard let result = try plan.verify(seed: 3, rows: 200, team: whole) else { continue }
      count += 1
      let isWrong =
        !bytesAreRight || !result.repeats || !(result.distance < 1e-5)
        || !check.hasUnusedRows && result.isFailure
      if isWrong { failures += 1 }
      let shape = check.problem.shape
      let words = [
        isWrong ? "FAIL" : "PASS", scheme.rawValue, plan.queries.order.rawValue,
        strategy.spec(for: check.problem), "b=\(shape.batch) h=\(shape.heads)/\(shape.kvHeads)",
        "n=\(shape.queryLength)/\(shape.keyLength)",
        check.packed.map { "packed \($0.queryLengths)" } ?? "",
        check.problem.visibility.causal ? "causal" : "full", "distance \(result.distance)",
        result.hasSameBits ? "same bits" : "", result.repeats ? "" : "DOES NOT REPEAT",
        bytesAreRight ? "" : "bytes \(allSent) for \(plan.traffic.bytes)",
        isWrong ? "\(result.againstDefinition.outcome)" : "",
      ]
      Console.print(words.filter { !$0.isEmpty }.joined(separator: " "))
    }
  }
  try checkLink(communicator, team, &failures, &count)
  if communicator.rank == 0 {
    Console.print(failures == 0 ? "PASS: \(count) checks" : "FAIL: \(failures) of \(count) checks")
  }
  let all = try communicator.gatherAll([Double(failures)])
  if all[0][0] > 0 {
    throw AgreedFailure("", isMineToPrint: communicator.rank == 0, exitCode: 1)
  }
}

/// A simulated link brings nothing sooner than its rate allows, and changes no result, whatever the scheme; how
/// much later depends on the machine.
func checkLink(
  _ communicator: Communicator, _ team: WorkerTeam, _ failures: inout Int, _ count: inout Int
) throws {
  if communicator.size == 1 { return }
  let link = try LinkModel(bytesPerSecond: 2e6, latency: 1e-3)
  for (name, scheme) in [
    ("flash", Scheme.ring), ("flash", .allgather), ("flash", .alltoall), ("window(37)", .halo),
    ("gated", .states),
  ] {
    let problem = try AttentionProblem(
      AttentionShape(heads: 4, kvHeads: 4, queryLength: 401, headDim: 16),
      visibility: Visibility(causal: true))
    let plan = try communicator.agree {
      try DistributedPlan(
        StrategyRegistry.standard.strategy(name), for: problem, scheme: scheme, link: link,
        communicator: communicator, team: team)
    }
    let tensors = try plan.randomTensors(seed: 3)
    try communicator.barrier()
    let start = monotonicSeconds()
    _ = try plan.run(tensors)
    try communicator.barrier()
    let seconds = monotonicSeconds() - start
    let least = link.seconds(bytes: Double(plan.traffic.largest))
    guard let result = try plan.verify(seed: 3, rows: 50, team: team) else { continue }
    count += 1
    let isWrong = seconds < least || result.isFailure
    if isWrong { failures += 1 }
    Console.print(
      "\(isWrong ? "FAIL" : "PASS") \(scheme.rawValue) over a simulated link: \(seconds) s, "
        + "not below \(least) s")
  }
}

RankProgram.run("scheme-check", run)
