import ArgumentParser
import Attention
import AttentionBench
import DistributedAttention
import Foundation
import MachineTopology
import MessagePassing

/// What the commands have in common: the problem and the workers of a rank.
struct ProblemOptions: ParsableArguments {
  @Option(
    parsing: .unconditional, help: "Sequence lengths: 64k, or 1k..64k, or a list (default: 16k).")
  var n: String?

  @Option(
    parsing: .unconditional,
    help:
      "Lengths of sequences behind each other that see only themselves: 700,1,1299; n is their sum."
  )
  var packed: String?

  @Option(help: "Strategies, as 'flash,window(512)'; attnbench list shows them.")
  var strategy = "flash"

  @Flag(help: "A query sees no later keys.")
  var causal = false

  @Option(parsing: .unconditional, help: "Sequences.")
  var batch = 1

  @Option(parsing: .unconditional, help: "Query heads.")
  var heads = 8

  @Option(parsing: .unconditional, help: "Key/value heads (default: as query heads).")
  var kvHeads: Int?

  @Option(parsing: .unconditional, help: "Dimension of queries and keys.")
  var headDim = 64

  @Option(parsing: .unconditional, help: "Dimension of values (default: as keys).")
  var valueDim: Int?

  @Option(parsing: .unconditional, help: "Workers of each rank.")
  var threads = 1

  @Option(parsing: .unconditional, help: "Seed of the tensors.")
  var seed: UInt64 = 1

  var sizes: [Int] {
    get throws {
      guard let all = try packedSequences?.queryOffsets.last else {
        return try SizeList(parsing: n ?? "16k").sizes
      }
      guard n == nil else {
        throw PlanError(
          argument: "--n", value: n ?? "", rule: "is the sum of --packed", fix: "leave it out")
      }
      return [all]
    }
  }

  /// The sequences of `--packed`; nil without it.
  var packedSequences: PackedSequences? {
    get throws {
      guard let packed else { return nil }
      var offsets = [0]
      for length in packed.split(separator: ",", omittingEmptySubsequences: false) {
        let next = try offsets[offsets.count - 1].addingReportingOverflow(
          SizeText.parse(length.trimmingCharacters(in: .whitespaces), argument: "--packed"))
        guard !next.overflow else {
          throw PlanError(
            argument: "--packed", value: packed, rule: "has more rows than can be counted",
            fix: "give fewer or shorter sequences")
        }
        offsets.append(next.partialValue)
      }
      return try PackedSequences(queryOffsets: offsets)
    }
  }

  /// For commands that know nothing of packed sequences.
  ///
  /// - Throws: `PlanError` where some were given.
  func refusePacked(_ command: String) throws(PlanError) {
    guard let packed else { return }
    throw PlanError(
      argument: "--packed", value: packed, rule: "\(command) takes one sequence",
      fix: "leave it out, or give --n")
  }

  var strategies: [any AttentionStrategy] {
    get throws { try StrategyRegistry.standard.strategies(strategy) }
  }

  func problem(_ length: Int) throws(AttentionError) -> AttentionProblem {
    try AttentionProblem(
      AttentionShape(
        batch: batch, heads: heads, kvHeads: kvHeads, queryLength: length, headDim: headDim,
        valueDim: valueDim),
      visibility: Visibility(causal: causal))
  }

  func team() throws -> WorkerTeam {
    guard threads >= 1 else {
      throw PlanError(
        argument: "--threads", value: "\(threads)", rule: "a rank has at least 1 worker",
        fix: "write for example 1")
    }
    return try WorkerTeam(threads: threads)
  }
}

/// `--scheme` and `--shards`.
struct SchemeOptions: ParsableArguments {
  @Option(help: "ring, allgather, alltoall, halo, states, auto, or a list of them (default: auto).")
  var scheme: String?

  @Option(help: "How rows are dealt to ranks: contiguous, zigzag or auto (default: auto).")
  var shards: String?

  /// Nil for what is to be chosen.
  var schemes: [Scheme?] {
    get throws {
      try (scheme ?? "auto").split(separator: ",", omittingEmptySubsequences: false).map {
        $0 == "auto" ? nil : try Scheme(parsing: String($0))
      }
    }
  }

  var order: ShardOrder? {
    get throws {
      guard let shards, shards != "auto" else { return nil }
      return try ShardOrder(parsing: shards)
    }
  }
}

/// `12.5GB/s` and `2us`.
func link(_ rate: String, latency: String, argument: String) throws -> LinkModel {
  guard rate.hasSuffix("/s") else {
    throw PlanError(
      argument: argument, value: rate, rule: "a rate is bytes a second",
      fix: "write for example 12.5GB/s")
  }
  let bytes = try ByteCount(parsing: String(rate.dropLast(2)), argument: argument).bytes
  return try LinkModel(
    bytesPerSecond: Double(bytes),
    latency: latency == "0" ? 0 : try TimeSpan(parsing: latency, argument: "--latency").seconds)
}
