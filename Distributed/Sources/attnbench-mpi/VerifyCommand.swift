import ArgumentParser
import Attention
import AttentionBench
import DistributedAttention
import Foundation
import MachineTopology
import MessagePassing

/// `attnbench-mpi verify`: are results over ranks what they should be?
struct VerifyCommand: RankCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Hold results over ranks to their definition in fp64 and to one process.",
    discussion: """
      Rank 0 gathers the result, computes sampled rows in fp64 with the bounds that attnbench verify has, and \
      the whole in one process; every run is made twice, for the same bits.
      """)

  @OptionGroup var problemOptions: ProblemOptions
  @OptionGroup var schemeOptions: SchemeOptions

  @Option(parsing: .unconditional, help: "Query rows that are checked.")
  var rows = 64

  @Option(help: "How long a rank may be silent.")
  var timeLimit = "5m"

  func run(on communicator: Communicator) throws {
    let (sizes, packed, strategies, schemes, order, team) = try communicator.agree(
      {
        guard rows >= 1 else {
          throw PlanError(
            argument: "--rows", value: "\(rows)", rule: "at least 1 row is checked",
            fix: "write for example 64")
        }
        return (
          try problemOptions.sizes, try problemOptions.packedSequences,
          try problemOptions.strategies, try schemeOptions.schemes, try schemeOptions.order,
          try problemOptions.team()
        )
      }, failure: Program.outcome)
    var failures = 0
    for size in sizes {
      for strategy in strategies {
        for scheme in schemes {
          let plan = try communicator.agree(
            {
              try DistributedPlan(
                strategy, for: problemOptions.problem(size), packed: packed, scheme: scheme,
                order: order, communicator: communicator, team: team)
            }, failure: Program.outcome)
          guard let result = try plan.verify(seed: problemOptions.seed, rows: rows, team: team)
          else { continue }
          if result.isFailure { failures += 1 }
          Console.print(line(result, plan, ranks: communicator.size))
        }
      }
    }
    let total = try communicator.gatherAll([Double(failures)])[0][0]
    if total > 0 {
      throw AgreedFailure(
        "FAIL: \(Int(total)) checks failed", isMineToPrint: communicator.rank == 0, exitCode: 1)
    }
    if communicator.rank == 0 { Console.print("PASS") }
  }

  private func line(
    _ result: DistributedVerification, _ plan: DistributedPlan, ranks: Int
  ) -> String {
    var words = [
      result.isFailure ? "FAIL" : "PASS", plan.scheme.rawValue, "\(ranks) ranks",
      plan.queries.order.rawValue, plan.strategy.spec(for: plan.problem),
      "n=\(problemOptions.packed ?? "\(plan.problem.shape.queryLength)")",
    ]
    switch result.againstDefinition.outcome {
    case .pass(let comparison), .fail(let comparison):
      let (errors, bounds) = (comparison.errors, comparison.bounds)
      words.append(
        "rel L2 \(text(errors.relativeL2)) <= \(text(bounds.relativeL2)), "
          + "max \(text(errors.maximum)) <= \(text(bounds.maximum)), "
          + "LSE \(text(errors.logSumExp)) <= \(text(bounds.logSumExp)), "
          + "\(comparison.rowsChecked) rows;")
    case .refused(let error), .unserved(let error): words.append("\(error);")
    case .skipped: words.append("no memory;")
    }
    words.append(
      result.hasSameBits
        ? "the bits of one process" : "\(text(result.distance)) from one process")
    if !result.repeats { words.append("; a second run gave OTHER BITS") }
    return words.joined(separator: " ")
  }

  private func text(_ value: Double) -> String {
    value == 0 ? "0" : String(format: "%.1e", value)
  }
}
