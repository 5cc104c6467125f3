import ArgumentParser
import AttentionBench
import MachineTopology

/// How long and how large a cell of `--shard cells` may get, and how exact: as `attnbench sweep` has them.
struct CellOptions: ParsableArguments {
  @Option(parsing: .unconditional, help: "Samples a cell has at least (default: 5).")
  var minSamples: Int?

  @Option(
    name: .customLong("rel-ci"), parsing: .unconditional,
    help: "Half width of the median's 95% interval that is good enough (default: 2%).")
  var relativeInterval: String?

  @Option(
    parsing: .unconditional,
    help: "Most time to measure one cell; longer ones are skipped (default: 60s).")
  var cellTimeout: String?

  @Option(
    parsing: .unconditional,
    help: "Most memory of a machine's ranks together, as 4GiB or as a share (default: 80%).")
  var maxMemory: String?

  /// The options that were given, with their values.
  var given: [(option: String, value: String)] {
    [
      ("--min-samples", minSamples.map { "\($0)" }), ("--rel-ci", relativeInterval),
      ("--cell-timeout", cellTimeout), ("--max-memory", maxMemory),
    ].compactMap { option, value in value.map { (option, $0) } }
  }

  /// The limits of a rank, with the defaults filled in.
  ///
  /// - Parameter neighbours: ranks of the machine, which share its memory.
  /// - Throws: `PlanError` naming the option at fault.
  func limits(neighbours: Int) throws(PlanError) -> SweepLimits {
    var limits = SweepLimits()
    limits.minimumSamples = minSamples ?? limits.minimumSamples
    guard 1...SweepLimits.maximumSamples ~= limits.minimumSamples else {
      throw PlanError(
        argument: "--min-samples", value: "\(limits.minimumSamples)",
        rule: "a cell has 1 to \(SweepLimits.maximumSamples) samples", fix: "write for example 5")
    }
    // Messages repeat what was typed.
    limits.wording.relativeInterval = relativeInterval ?? limits.wording.relativeInterval
    limits.wording.cellTimeout = cellTimeout ?? limits.wording.cellTimeout
    limits.wording.memory = maxMemory ?? limits.wording.memory
    limits.relativeInterval =
      try Percent(parsing: limits.wording.relativeInterval, argument: "--rel-ci").fraction
    limits.cellTimeout =
      try TimeSpan(parsing: limits.wording.cellTimeout, argument: "--cell-timeout").seconds
    let available = MachineMemory.current()?.availableBytes ?? .max
    let memory = try MemoryLimit(parsing: limits.wording.memory)
    limits.memoryBytes = memory.resolved(available: ByteCount(max(0, available))).bytes / neighbours
    return limits
  }
}
