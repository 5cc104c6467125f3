import Attention
import AttentionBench
import Foundation
import MachineTopology

/// Compares implementations on one kind of work after the other, and keeps all in one folder.
public final class PeerComparison {
  /// What came of one kind of work.
  public struct Kind: Sendable {
    /// The cells that were compared.
    public let plan: PeerPlan
    /// A row each.
    public let rows: [ResultRow]
    /// The machine's ceilings among them.
    public let ceilings: [MachineCeiling]
  }

  /// What has been compared so far.
  public private(set) var kinds: [Kind] = []
  /// Whether somebody stopped it.
  public private(set) var wasInterrupted = false

  private let executor: PeerExecutor
  private let store: RunDirectory
  private var metadata: RunMetadata
  private let limits: SweepLimits
  private let seed: UInt64
  private let stop: StopFlag
  private let clock = MonotonicClock()
  private let began: UInt64

  /// A comparison that begins now.
  ///
  /// - Throws: `RecordError` when the folder holds results or cannot be written.
  public init(
    into folder: String, executor: PeerExecutor, metadata: RunMetadata, limits: SweepLimits,
    stop: StopFlag
  ) throws {
    self.executor = executor
    self.metadata = metadata
    self.limits = limits
    self.stop = stop
    seed = metadata.seed
    began = clock.now()
    store = try RunDirectory(path: folder, resuming: false)
    try store.write(metadata)
  }

  /// How long and how well to measure.
  ///
  /// - Parameter seconds: that each implementation gets for a piece of work and a thread count; six
  ///   turns are taken whatever they take.
  public static func limits(seconds: Double) -> SweepLimits {
    var limits = SweepLimits.host()
    limits.minimumSamples = 6
    limits.guaranteesMinimum = true
    limits.cellTimeout = seconds
    limits.wording.cellTimeout = "\(seconds)s"
    // Ratios between rows are what counts: all are taken over the same stretch of time.
    limits.endsTogether = true
    return limits
  }

  /// Measures one kind of work, and keeps its rows.
  ///
  /// - Throws: `RecordError` when a row cannot be kept; those before are safe.
  public func run(_ plan: PeerPlan, emit: @escaping (SweepEvent) -> Void) throws {
    executor.entries = plan.entries
    let outcome = try SweepEngine(
      plan: plan.sweep(seed: seed), limits: limits,
      instruments: SweepEngine.Instruments(
        executor: executor, clock: clock, probe: executor.probe, store: store),
      labels: RowLabels(
        runID: metadata.runID,
        build: ResultRow.Build(blasCore: metadata.blas.core, isa: metadata.isaChosen)),
      secondsBefore: Double(clock.now() - began) / 1e9, stop: stop, emit: emit
    ).run()
    let kind = Kind(plan: plan, rows: outcome.rows, ceilings: outcome.ceilings)
    kinds.append(kind)
    wasInterrupted = wasInterrupted || outcome.wasInterrupted
    metadata.ceilings = kinds.flatMap(\.ceilings)
    try store.write(metadata)
    try keepCurves(of: kind)
  }

  /// Writes how the run ended, and the page that sums it up.
  public func finish(title: String) throws {
    metadata.endedAt = Date()
    metadata.loadAfter = RunMetadata.loadAverages
    metadata.completed = !wasInterrupted && !stop.isRaised
    try store.write(metadata)
    let samples = try RunDirectory.readSamples(in: store.layout.directory).rows
    let page = ResultPage(
      kinds, samples: samples, hasSameBits: executor.hasSameBits, metadata: metadata)
    let path = store.layout.directory + "/README.md"
    try Data(page.text(title: title).utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
  }

  /// The table of the page, for the terminal.
  public var table: RatioTable { RatioTable(kinds) }

  /// How this build compares with the other one, if there is one.
  public func changes() throws -> [BuildChange] {
    BuildChange.all(
      kinds, samples: try RunDirectory.readSamples(in: store.layout.directory).rows,
      hasSameBits: executor.hasSameBits)
  }

  /// A folder for each thread count of a kind that has several sizes: all in one picture would be
  /// too many curves to read.
  private func keepCurves(of kind: Kind) throws {
    guard Set(kind.rows.map(\.n)).count > 1, let name = kind.plan.compared.first?.work.kind else {
      return
    }
    for (threads, rows) in Dictionary(grouping: kind.rows, by: \.placement.threads) {
      let suffix = threads == 1 ? "1-thread" : "\(threads)-threads"
      let folder = try RunDirectory(
        path: "\(store.layout.directory)/curves/\(name)-\(suffix)", resuming: false)
      for row in rows { try folder.append(row) }
      var part = metadata
      part.ceilings = kind.ceilings.filter { $0.threads == threads }
      try folder.write(part)
    }
  }
}
