import Attention
import AttentionBench
import MachineTopology

/// A clock that stands still until somebody moves it.
final class FakeClock: SweepClock {
  private(set) var nanoseconds: UInt64 = 1_000_000

  func now() -> UInt64 { nanoseconds }
  func advance(_ seconds: Double) { nanoseconds += UInt64((seconds * 1e9).rounded()) }
}

/// A machine with as much memory as a test wants, and steady interference.
final class FakeProbe: MachineProbe {
  var available: Int? = 1 << 40
  var resident = 1 << 20
  var peak = 1 << 20
  var canRestartPeak = true
  var stealsEveryTick = false
  /// Seconds that threads have waited for their cores; nil where the kernel does not say.
  var waited: Double?
  /// How many of two CPUs others use all the time; nil where the kernel does not say.
  var neighbours: Double?
  /// Seconds of processor time that the process did not get.
  var lostSeconds = 0.0
  var cpuCount: Int? = 2
  var frequencies: [Double] = []
  private let clock: FakeClock

  init(_ clock: FakeClock) { self.clock = clock }

  func availableBytes() -> Int? { available }
  func residentBytes() -> Int? { resident }
  func peakResidentBytes() -> Int? { peak }
  func restartPeak() -> Bool { canRestartPeak }
  func processorSeconds() -> Double { 2 * Double(clock.nanoseconds) / 1e9 - lostSeconds }
  func clockFrequencies() -> [Double] { frequencies }

  func interference() -> Interference {
    let ticks = Int(clock.nanoseconds / 10_000_000)
    // Two CPUs that are busy while the clock moves, and this process on what others leave.
    let own = Double(2 * ticks) / 100
    return Interference(
      involuntarySwitches: ticks, ticks: 2 * ticks, stolenTicks: stealsEveryTick ? 2 * ticks : 0,
      busyTicks: neighbours.map { _ in 2 * ticks },
      ownSeconds: neighbours.map { own * (1 - $0 / 2) } ?? own, waitedSeconds: waited)
  }
}

struct FakeFailure: Error, CustomStringConvertible {
  let description: String
}

/// Runs cells by moving the clock, and notes what it was asked to do.
final class FakeExecutor: CellExecutor {
  let clock: FakeClock
  let probe: FakeProbe
  /// Seconds of a run, given the cell and how often it has run before.
  var seconds: (SweepCell, Int) -> Double = { _, _ in 0.01 }
  /// What a cell throws when it is prepared or run, given how often it has run; nil for nothing.
  var prepareFailure: (SweepCell) -> FakeFailure? = { _ in nil }
  var runFailure: (SweepCell, Int) -> FakeFailure? = { _, _ in nil }
  var loadFailure: FakeFailure?
  var burstFailure: FakeFailure?
  /// What checking a cell's output comes to, given how often it has run.
  var check: (SweepCell, Int) -> OutputCheck = { _, _ in OutputCheck(accuracy: .init()) }
  /// What a cell says of its own time; nil for nothing.
  var account: (SweepCell) -> RunAccount? = { _ in nil }
  /// Called before each run, and during each burst.
  var willRun: (SweepCell) -> Void = { _ in }
  var willBurst: () -> Void = {}
  var rate = 100e9
  var readRate = 30e9
  /// The share of the peak that the matrix library reaches.
  var blasShare = 0.9
  var caches = CacheCapacities([.init(number: 3, byteCount: 1 << 29, count: 1, cores: 2)])
  private(set) var readings = 0
  /// The rate of a working set, given its bytes.
  var workingSetRate: (Int) -> Double? = { _ in 30e9 }
  /// The sizes that were read, in order.
  private(set) var workingSets: [Int] = []
  /// Seconds that a burst takes.
  var burstSeconds = 0.0
  /// What a plan holds, given what its strategy foresees.
  var workspace: (Int) -> Int = { $0 }
  /// What the process grows by when a plan that declares so many bytes is made.
  var growth: (Int) -> Int = { $0 }
  /// `load 1000`, `prepare flash-n1000-t2`, `run flash-n1000-t2`, `check ...`, `unload`.
  private(set) var log: [String] = []
  /// Bytes of all plans that are alive, and the most there ever were.
  private(set) var plannedBytes = 0
  private(set) var mostPlannedBytes = 0

  init(clock: FakeClock, probe: FakeProbe) {
    self.clock = clock
    self.probe = probe
  }

  func load(_ problem: AttentionProblem) throws {
    log.append("load \(problem.shape.queryLength)")
    if let loadFailure { throw loadFailure }
  }

  func unload() { log.append("unload") }

  func prepare(_ cell: SweepCell) throws -> any PreparedCell {
    log.append("prepare \(cell.id)")
    if let failure = prepareFailure(cell) { throw failure }
    return try Prepared(cell, self)
  }

  func flopRate(on placement: SweepPlacement, in arithmetic: Arithmetic) throws -> Double {
    if let burstFailure { throw burstFailure }
    clock.advance(burstSeconds)
    willBurst()
    return rate * Double(placement.threads) * (arithmetic == .bfloat16 ? 2 : 1)
  }

  func readRate(on placement: SweepPlacement) throws -> Double? {
    readings += 1
    return readRate
  }

  func readRate(on placement: SweepPlacement, of set: WorkingSet) throws -> Double? {
    workingSets.append(set.bytes)
    return workingSetRate(set.bytes)
  }

  func blasRate(on placement: SweepPlacement) throws -> Double {
    blasShare * rate * Double(placement.threads)
  }

  /// The cells in the order they ran.
  var runs: [String] { log.filter { $0.hasPrefix("run ") }.map { String($0.dropFirst(4)) } }

  private final class Prepared: PreparedCell {
    let cell: SweepCell
    let owner: FakeExecutor
    let plannedBytes: Int
    var workspaceBytes: Int? { plannedBytes }
    private var count = 0

    init(_ cell: SweepCell, _ owner: FakeExecutor) throws {
      self.cell = cell
      self.owner = owner
      plannedBytes = owner.workspace(try cell.work.get().workspaceBytes)
      owner.plannedBytes += plannedBytes
      owner.mostPlannedBytes = max(owner.mostPlannedBytes, owner.plannedBytes)
      owner.probe.peak = owner.probe.resident + owner.growth(plannedBytes)
    }

    deinit { owner.plannedBytes -= plannedBytes }

    var account: RunAccount? { owner.account(cell) }

    func arm() {}

    func run() throws {
      owner.willRun(cell)
      owner.log.append("run \(cell.id)")
      if let failure = owner.runFailure(cell, count) { throw failure }
      owner.clock.advance(owner.seconds(cell, count))
      count += 1
    }

    func check() throws -> OutputCheck {
      owner.log.append("check \(cell.id)")
      return owner.check(cell, count)
    }
  }
}

/// A sweep on fakes: change what a test is about, then `run`.
struct FakeSweep {
  var sizes = [1000]
  var strategies = "full,flash,window(512)"
  var threads = [2]
  var seed: UInt64 = 1
  var limits = SweepLimits()
  var earlierRows: [ResultRow] = []
  var earlierSamples: [String: Int] = [:]
  let stop = StopFlag()
  let clock = FakeClock()
  let probe: FakeProbe
  let executor: FakeExecutor
  let store = ResultCollector()

  init() {
    probe = FakeProbe(clock)
    executor = FakeExecutor(clock: clock, probe: probe)
  }

  func plan() throws -> SweepPlan {
    try .ofHeads(4, sizes: sizes, strategies: strategies, threads: threads, seed: seed)
  }

  @discardableResult
  func run(
    store other: (any ResultStore)? = nil, emit: @escaping (SweepEvent) -> Void = { _ in }
  ) throws -> SweepEngine.Outcome {
    let engine = SweepEngine(
      plan: try plan(), limits: limits,
      instruments: SweepEngine.Instruments(
        executor: executor, clock: clock, probe: probe, store: other ?? store),
      labels: RowLabels(
        runID: "r", build: ResultRow.Build(blasCore: "SkylakeX", isa: "avx512")),
      earlierRows: earlierRows, earlierSamples: earlierSamples, stop: stop, emit: emit)
    return try engine.run()
  }

  func row(_ cell: String) -> ResultRow? { store.rows.first { $0.cellID == cell } }
}

extension SweepPlan {
  /// A plan for self-attention with heads of 64, workers unbound.
  static func ofHeads(
    _ heads: Int, sizes: [Int], strategies: String, threads: [Int] = [2], seed: UInt64 = 1,
    causal: Bool = false
  ) throws -> SweepPlan {
    try SweepPlan(
      sizes: sizes, strategies: StrategyRegistry.standard.strategies(strategies),
      placements: threads.map { SweepPlacement(threads: $0, binding: .none) }, seed: seed
    ) { n in
      try AttentionProblem(
        AttentionShape(heads: heads, queryLength: n, headDim: 64),
        visibility: Visibility(causal: causal))
    }
  }

  func cell(_ id: String) throws -> SweepCell {
    guard let cell = cells.first(where: { $0.id == id }) else {
      throw FakeFailure(description: "no cell \(id) among \(cells.map(\.id))")
    }
    return cell
  }
}
