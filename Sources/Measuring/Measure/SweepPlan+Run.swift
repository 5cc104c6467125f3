import Attention
import Foundation
import MachineTopology
import Records
import Statistics
import Units

extension SweepPlan {
  /// Runs the plan on this machine and writes what `attnbench sweep` writes, so that `attnbench
  /// plot` can draw it: for programs that measure strategies of their own.
  ///
  /// Call it from the thread whose binding may change while it runs: that thread is worker 0.
  ///
  /// - Parameters:
  ///   - directory: created; one that holds results is refused.
  ///   - inputs: nil for unit normals from the plan's seed.
  ///   - stop: ends the sweep after the run under way.
  ///   - emit: is told what happens, between runs.
  /// - Throws: `TopologyError` when a worker cannot be started or bound, `RecordError` when a
  ///   result cannot be kept. What was kept before is safe.
  public func run(
    into directory: String, limits: SweepLimits = .host(), inputs: SweepInputs? = nil,
    stop: StopFlag = StopFlag(), emit: @escaping (SweepEvent) -> Void = { _ in }
  ) throws -> SweepEngine.Outcome {
    let topology = try MachineTopology.host()
    let executor = try AttentionExecutor(
      placements: placements, inputs: inputs ?? .normal(seed: seed), seed: seed,
      topology: topology)
    let store = try RunDirectory(path: directory, resuming: false)
    var metadata = RunMetadata.host(
      argv: CommandLine.arguments, options: [:], seed: seed, topology: topology)
    try store.write(metadata)
    let outcome = try SweepEngine(
      plan: self, limits: limits,
      instruments: SweepEngine.Instruments(
        executor: executor, clock: MonotonicClock(),
        probe: HostProbe(cpus: executor.cpus(allowed: topology.allowed)),
        store: store),
      labels: RowLabels(
        runID: metadata.runID,
        build: ResultRow.Build(blasCore: metadata.blas.core, isa: metadata.isaChosen)),
      stop: stop, emit: emit
    ).run()
    metadata.endedAt = Date()
    metadata.loadAfter = RunMetadata.loadAverages
    metadata.completed = !outcome.wasInterrupted
    metadata.ceilings = outcome.ceilings
    try store.write(metadata)
    return outcome
  }
}

extension SweepLimits {
  /// The defaults, with 80% of the memory that this machine can give now.
  public static func host() -> SweepLimits {
    var limits = SweepLimits()
    if let available = MachineMemory.current()?.availableBytes {
      limits.memoryBytes = available / 5 * 4
    }
    return limits
  }
}
