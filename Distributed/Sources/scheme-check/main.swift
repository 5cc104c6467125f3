// Every scheme, with strategies and shapes that are odd in one way or another, against one process: under
// mpirun, with as many ranks as one likes. Prints a line a check, and exits with 1 on all ranks when one fails.

import Attention
import AttentionBench
import DistributedAttention
import Glibc
import MachineTopology
import MessagePassing

struct Check {
  let strategy: String
  let schemes: [Scheme]
  let problem: AttentionProblem
  var order: ShardOrder?
  /// Held to one process alone: the definition has rows where nothing is written.
  var hasUnusedRows = false
}

func checks(ranks: Int) throws -> [Check] {
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

let communicator: Communicator
do {
  communicator = try Communicator()
} catch {
  Console.note("error: \(error)")
  exit(1)
}
do {
  let team = try WorkerTeam(threads: CommandLine.arguments.contains("--two-threads") ? 2 : 1)
  let whole = try WorkerTeam(threads: 1)
  var failures = 0
  var count = 0
  for check in try checks(ranks: communicator.size) {
    let strategy = try StrategyRegistry.standard.strategy(check.strategy)
    for scheme in check.schemes {
      if scheme == .alltoall, check.problem.shape.kvHeads < communicator.size { continue }
      let plan = try communicator.agree {
        try DistributedPlan(
          strategy, for: check.problem, scheme: scheme, order: check.order,
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
        check.problem.visibility.causal ? "causal" : "full", "distance \(result.distance)",
        result.hasSameBits ? "same bits" : "", result.repeats ? "" : "DOES NOT REPEAT",
        bytesAreRight ? "" : "bytes \(allSent) for \(plan.traffic.bytes)",
        isWrong ? "\(result.againstDefinition.outcome)" : "",
      ]
      Console.print(words.filter { !$0.isEmpty }.joined(separator: " "))
    }
  }
  if communicator.rank == 0 {
    Console.print(failures == 0 ? "PASS: \(count) checks" : "FAIL: \(failures) of \(count) checks")
  }
  let all = try communicator.gatherAll([Double(failures)])
  try communicator.close()
  exit(all[0][0] == 0 ? 0 : 1)
} catch let failure as AgreedFailure {
  if failure.isMineToPrint { Console.note("\(failure)") }
  try? communicator.close()
  exit(failure.exitCode)
} catch {
  Console.note("error: rank \(communicator.rank): \(error)")
  communicator.abort(code: 1)
  exit(1)
}
