import Attention
import MachineTopology
import Records
import Statistics
import Units

/// Runs cells for real: tensors, plans and teams of bound workers on this machine.
///
/// Use it from the thread that made it: that thread is worker 0 of every team.
public final class AttentionExecutor: CellExecutor {
  /// Tensors and references of one size.
  package final class Loaded {
    package let problem: AttentionProblem
    /// fp32 tensors: what references are computed from.
    package let values: ProblemTensors
    /// The same numbers as the problem stores them.
    let stored: ProblemTensors
    package let output: Tensor
    let check: AccuracyCheck
    private let seed: UInt64
    private let inputs: SweepInputs
    /// What strategies take beyond query, key and value, made once however many of them take it.
    private var named: [NamedOperand: Tensor] = [:]
    /// By strategy: what the checked rows have to be.
    private var expected: [String: ExpectedRows] = [:]
    /// Full softmax attention on the checked rows, once it is known.
    var fullRows: [OracleRow]?
    /// Full attention's scores on these rows, once they are known, and by strategy what it keeps of them.
    private var recallReference: RecallReference?
    private var recalls: [String: Recall?] = [:]
    /// Full softmax attention, where a choice has asked for it.
    package var reference: FullReference?

    /// What makes an operand the same for two strategies.
    private struct NamedOperand: Hashable {
      let name: String
      let axes: [OperandAxis]
      let domain: ClosedRange<Float>
    }

    init(
      _ problem: AttentionProblem, _ tensors: ProblemTensors, inputs: SweepInputs, seed: UInt64
    ) throws(AttentionError) {
      self.inputs = inputs
      self.problem = problem
      stored = try tensors.stored(as: problem.storage)
      values = try stored.stored(as: Storage())
      output = try Tensor(problem.shape.output, elementType: problem.storage.output)
      check = AccuracyCheck(problem.shape, seed: seed)
      self.seed = seed
    }

    /// What a strategy has to give on the checked rows, worked out once.
    func expected(
      of strategy: any AttentionStrategy, on team: WorkerTeam
    ) throws(AttentionError) -> ExpectedRows {
      let spec = strategy.spec(for: problem)
      if let known = expected[spec] { return known }
      let rows = try ExpectedRows(
        of: strategy, on: problem, check, tensors: values(for: strategy), seed: seed, team: team)
      expected[spec] = rows
      return rows
    }

    /// How much of full attention lies on the keys that a restricted strategy keeps, on the checked rows;
    /// worked out once. Nil for other classes.
    func recall(
      of strategy: any AttentionStrategy, on team: WorkerTeam
    ) throws(AttentionError) -> Recall? {
      guard strategy.operatorClass == .restricted else { return nil }
      let spec = strategy.spec(for: problem)
      if let known = recalls[spec] { return known }
      let reference =
        recallReference
        ?? RecallReference(problem, rows: check.rows, values.views, on: team)
      recallReference = reference
      let recall = reference.recall(
        of: strategy.oracle(for: problem), try values(for: strategy).views, on: team)
      recalls[spec] = .some(recall)
      return recall
    }

    /// The fp32 tensors with the operands that a strategy takes beside them.
    package func values(for strategy: any AttentionStrategy) throws(AttentionError)
      -> ProblemTensors
    {
      values.with(try operands(of: strategy))
    }

    /// The stored tensors, likewise.
    func stored(for strategy: any AttentionStrategy) throws(AttentionError) -> ProblemTensors {
      stored.with(try operands(of: strategy))
    }

    private func operands(
      of strategy: any AttentionStrategy
    ) throws(AttentionError) -> [String: Tensor] {
      var tensors: [String: Tensor] = [:]
      for declaration in strategy.operands {
        let operand = NamedOperand(
          name: declaration.name, axes: declaration.axes, domain: declaration.domain)
        if let known = named[operand] {
          tensors[declaration.name] = known
          continue
        }
        let made = try inputs.operands([declaration], for: problem.shape)[declaration.name]
        named[operand] = made
        tensors[declaration.name] = made
      }
      return tensors
    }
  }

  private let inputs: SweepInputs
  private let seed: UInt64
  private let cacheByteCount: Int
  public let caches: CacheCapacities
  private let placements: [SweepPlacement]
  private var rates: [Arithmetic: FMARate] = [:]
  private var products: BLASRate?
  /// Kept from one reading to the next, until other memory is asked for or all is given back.
  private var bandwidth: ReadBandwidth?
  private var teams: [WorkerTeam] = []
  private var loaded: Loaded?
  /// Whether tensors outlive `unload`: a choice comes back to the same problems several times.
  private let keepsTensors: Bool
  private var kept: [AttentionProblem: Loaded] = [:]

  /// Starts the workers of all placements and reads their bindings back.
  ///
  /// - Parameters:
  ///   - bestEffort: go on where a worker cannot be bound as asked.
  ///   - keepsTensors: keep the tensors of every problem that is loaded, for when it is again.
  /// - Throws: `TopologyError` when a worker cannot be started, or bound as asked.
  public init(
    placements: [SweepPlacement], inputs: SweepInputs, seed: UInt64, topology: MachineTopology,
    bestEffort: Bool = false, keepsTensors: Bool = false
  ) throws(TopologyError) {
    self.inputs = inputs
    self.keepsTensors = keepsTensors
    self.seed = seed
    self.placements = placements
    cacheByteCount = ReadBandwidth.cacheByteCount(of: topology)
    caches = CacheCapacities(of: topology)
    for placement in placements {
      teams.append(
        try WorkerTeam(
          threads: placement.threads, binding: placement.binding, topology: topology,
          bestEffort: bestEffort))
    }
    BLASLibrary.useOneThread()
  }

  deinit {
    // Each team gives the thread the binding back that it found: last made, first gone.
    while !teams.isEmpty { teams.removeLast() }
  }

  /// What the workers of a placement read back after they had bound themselves; nil for those that
  /// are not bound.
  public func bindings(of placement: SweepPlacement) -> [CPUSet?] {
    placements.firstIndex(of: placement).map { teams[$0].bindings } ?? []
  }

  /// The CPUs that workers of any placement run on, as read back; `allowed` for those that are not
  /// bound.
  public func cpus(allowed: CPUSet) -> CPUSet {
    teams.flatMap(\.bindings).reduce(CPUSet()) { $0.union($1 ?? allowed) }
  }

  /// Allocates and fills query, key and value, and makes the output resident.
  public func load(_ problem: AttentionProblem) throws {
    bandwidth = nil
    loaded = kept[problem]
    if loaded != nil { return }
    let tensors = try ProblemTensors(problem.shape)
    switch inputs {
    case .normal(let seed):
      let team = try widestTeam()
      for (role, tensor) in [tensors.query, tensors.key, tensors.value].enumerated() {
        team.run(NormalFill(tensor, role: role, seed: seed))
      }
    case .tensors(let given):
      try given.copy(query: tensors.query, key: tensors.key, value: tensors.value)
    }
    // Resident before anybody's memory is measured.
    let loaded = try Loaded(problem, tensors, inputs: inputs, seed: seed)
    loaded.output.poison()
    self.loaded = loaded
    if keepsTensors { kept[problem] = loaded }
  }

  /// Frees the tensors.
  public func unload() {
    loaded = nil
    bandwidth = nil
  }

  /// Plans the cell on the team of its placement.
  public func prepare(_ cell: SweepCell) throws -> any PreparedCell {
    if cell.isStep {
      return try PreparedStep(cell, tensors: tensors(of: cell), team: team(of: cell.placement))
    }
    return try PreparedAttention(cell, tensors: tensors(of: cell), team: team(of: cell.placement))
  }

  /// Query, key and value of the loaded problem in fp32, as its element types round them: what
  /// references are computed from.
  public func operands() throws -> ProblemTensors { try loadedTensors().values }

  /// Makes ready to check outputs of a cell of the loaded problem that another runs.
  public func checker(for cell: SweepCell) throws -> OutputChecker {
    OutputChecker(cell, try tensors(of: cell), try team(of: cell.placement))
  }

  private func tensors(of cell: SweepCell) throws(ExecutorError) -> Loaded {
    guard let loaded, loaded.problem == cell.problem else { throw .notLoaded(cell.id) }
    return loaded
  }

  /// About 20 ms of the products of an arithmetic.
  public func flopRate(on placement: SweepPlacement, in arithmetic: Arithmetic) throws -> Double {
    let rate = try rates[arithmetic] ?? FMARate(arithmetic: arithmetic)
    rates[arithmetic] = rate
    return try rate.burst(on: team(of: placement))
  }

  /// About 10 ms of products.
  public func blasRate(on placement: SweepPlacement) throws -> Double {
    let rate = try products ?? BLASRate(workers: widestTeam().threadCount)
    products = rate
    return try rate.burst(on: team(of: placement))
  }

  /// The median of three readings of many times the last-level cache.
  public func readRate(on placement: SweepPlacement) throws -> Double? {
    if bandwidth == nil {
      let available = MachineMemory.current()?.availableBytes
      let byteCount = ReadBandwidth.byteCount(
        beyondCachesOf: cacheByteCount, availableBytes: available)
      guard byteCount < (available ?? .max) / 8 else { return nil }
      bandwidth = try ReadBandwidth(byteCount: byteCount, writtenBy: widestTeam())
    }
    return try bandwidth?.rate(on: team(of: placement))
  }

  /// The median of three readings of keys, values, queries and output, as far as the bytes go; or of a state
  /// that is read and written.
  public func readRate(on placement: SweepPlacement, of set: WorkingSet) throws -> Double? {
    guard let loaded else { return nil }
    let (stored, output) = (loaded.stored, loaded.output)
    let rate =
      set.stateBytes > 0
      ? try WorkingSetRate(stateBytes: set.stateBytes)
      : WorkingSetRate([stored.key, stored.value, stored.query, output], byteCount: set.bytes)
    return rate.rate(on: try team(of: placement))
  }

  package func loadedTensors() throws(ExecutorError) -> Loaded {
    guard let loaded else { throw ExecutorError.notLoaded("a choice") }
    return loaded
  }

  package func team(of placement: SweepPlacement) throws -> WorkerTeam {
    guard let index = placements.firstIndex(of: placement) else {
      throw ExecutorError.unknownPlacement(placement)
    }
    return teams[index]
  }

  private func widestTeam() throws -> WorkerTeam {
    guard let team = teams.max(by: { $0.threadCount < $1.threadCount }) else {
      throw ExecutorError.noPlacement
    }
    return team
  }
}

/// A misuse of an executor by its caller.
public enum ExecutorError: Error, Equatable, CustomStringConvertible {
  /// The cell's problem is not the loaded one.
  case notLoaded(String)
  /// The executor was made without this placement.
  case unknownPlacement(SweepPlacement)
  /// The executor was made without any placement.
  case noPlacement
  /// Errors were asked for before full attention was computed.
  case noReference

  /// Which call was out of order.
  public var description: String {
    switch self {
    case .notLoaded(let cell): "\(cell): its problem must be loaded before it is prepared"
    case .unknownPlacement(let placement):
      "\(placement.threads) threads on \(placement.binding): not a placement of this executor"
    case .noPlacement: "an executor needs at least one placement"
    case .noReference: "full attention must be computed before errors are measured"
    }
  }
}

/// A cell planned on real tensors.
private final class PreparedAttention: PreparedCell {
  private let plan: any AttentionPlan
  private let checker: OutputChecker
  private let tensors: AttentionExecutor.Loaded
  /// What `operands` point to.
  private let stored: ProblemTensors
  private let team: WorkerTeam
  private let operands: AttentionOperands

  init(
    _ cell: SweepCell, tensors: AttentionExecutor.Loaded, team: WorkerTeam
  ) throws(AttentionError) {
    plan = try cell.strategy.plan(for: cell.problem, on: team)
    checker = OutputChecker(cell, tensors, team)
    self.tensors = tensors
    self.team = team
    stored = try tensors.stored(for: cell.strategy)
    operands = AttentionOperands(stored.views, output: tensors.output.mutableView)
  }

  var workspaceBytes: Int? { plan.workspaceBytes }

  func arm() {
    tensors.check.invalidate(operands.output)
    team.wake()
  }

  func run() throws { try plan.run(operands) }

  func check() throws -> OutputCheck { try checker.check(operands.output.reading) }
}
