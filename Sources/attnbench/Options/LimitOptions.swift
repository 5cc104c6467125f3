import ArgumentParser
import AttentionBench

/// How long and how large a measurement may get, and how exact.
struct LimitOptions: ParsableArguments {
  @Option(
    parsing: .unconditional, help: "Samples a cell has at least (default: 5).",
    transform: Count.parse)
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
    help: "Most time for everything; what does not fit is skipped (default: 9m).")
  var budget: String?

  @Option(
    parsing: .unconditional,
    help: "Most memory, as 4GiB or as a share of what is available (default: 80%).")
  var maxMemory: String?

  @Flag(help: "One minute: 3 samples, 5%, 5s a cell, unless these are given.")
  var quick = false

  /// The limits, with the defaults filled in.
  ///
  /// - Parameter available: bytes the machine can give.
  /// - Throws: `PlanError` naming the option at fault.
  func limits(available: Int) throws(PlanError) -> SweepLimits {
    var limits = SweepLimits()
    limits.minimumSamples = minSamples ?? (quick ? 3 : 5)
    guard 1...SweepLimits.maximumSamples ~= limits.minimumSamples else {
      throw PlanError(
        argument: "--min-samples", value: "\(limits.minimumSamples)",
        rule: "a cell has 1 to \(SweepLimits.maximumSamples) samples", fix: "write for example 5")
    }
    // Messages repeat what was typed: 60s and not 1m.
    limits.wording.relativeInterval = relativeInterval ?? (quick ? "5%" : "2%")
    limits.wording.cellTimeout = cellTimeout ?? (quick ? "5s" : "60s")
    limits.wording.budget = budget ?? (quick ? "1m" : "9m")
    limits.relativeInterval =
      try Percent(parsing: limits.wording.relativeInterval, argument: "--rel-ci").fraction
    limits.cellTimeout =
      try TimeSpan(parsing: limits.wording.cellTimeout, argument: "--cell-timeout").seconds
    limits.budget = try TimeSpan(parsing: limits.wording.budget, argument: "--budget").seconds
    let memory = try MemoryLimit(parsing: maxMemory ?? "80%")
    limits.memoryBytes = memory.resolved(available: ByteCount(max(0, available))).bytes
    limits.wording.memory = "\(memory)"
    return limits
  }
}
