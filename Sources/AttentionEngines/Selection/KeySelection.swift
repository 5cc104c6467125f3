import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// How single keys are selected for every row.
public enum KeySelection: Sendable {
  /// By the scores of an index, for all heads together.
  case index(IndexSelection)
  /// By the columns and diagonals that a head's last queries attend to.
  case stripes(StripeSelection)

  var method: any KeySelectionMethod {
    switch self {
    case .index(let index): index
    case .stripes(let stripes): stripes
    }
  }
}

/// What a selection of single keys does: its counts, its definition and who finds the keys.
protocol KeySelectionMethod: Sendable {
  /// What a run takes beyond query, key and value.
  var operands: [OperandDeclaration] { get }
  /// The lists that the heads of a sequence have in common; nil where each head keeps keys of its own.
  func sharedLists(_ problem: AttentionProblem) -> SharedLists?
  /// Keys that a row can keep, where they have to be written down for a row that attends; 0 where they are
  /// there already.
  func mostWritten(_ problem: AttentionProblem) -> Int
  /// Whether the rows of a head have keys in common, its columns.
  var hasColumns: Bool { get }
  /// Pairs that a head scores.
  func pairs(under geometry: MaskGeometry) -> Int
  /// Operations of selecting, over all heads of a sequence.
  func flops(under geometry: MaskGeometry, _ shape: AttentionShape) -> Int
  /// Bytes of a selector.
  func bytes(_ layout: KeptKeysLayout) -> Int
  func selector(_ layout: KeptKeysLayout) throws(AttentionError) -> any KeySelector
  func oracle(for problem: AttentionProblem) -> any AttentionOracle
  /// What a decoder keeps beside its cache; nil where nothing would help.
  func companion(
    for problem: AttentionProblem, kernels: KernelTable
  ) throws(AttentionError) -> (any CacheCompanion)?
}

/// What finds the keys that rows keep, stage by stage, for some rows of every sequence at a time.
protocol KeySelector: AnyObject, Sendable {
  /// Stages before any row attends.
  var preparations: Int { get }
  /// Rows of a sequence that are selected for before they attend.
  var rowsAtATime: Int { get }

  /// How many tasks a preparing stage has.
  func tasks(preparing stage: Int) -> Int
  func prepare(_ stage: Int, task: Int, _ operands: AttentionOperands, worker: Int)
  /// How many tasks it is to select for some rows.
  func tasks(selecting rows: Range<Int>) -> Int
  func select(rows: Range<Int>, task: Int, _ operands: AttentionOperands, worker: Int)
  /// `[b][rowsAtATime]` lists, where the method has shared ones.
  var lists: KeptLists? { get }
  /// The keys that all rows of a head keep, each as far as it sees them, rising; nil where there are none.
  func columns(
    _ batch: Int, _ head: Int, _ operands: AttentionOperands
  ) -> UnsafeBufferPointer<Int32>?
  /// The keys that one of the rows keeps beside the columns, rising; nil where a NaN decides.
  ///
  /// - Parameter memory: `[mostWritten]`.
  func keys(
    of row: Int, among rows: Range<Int>, _ batch: Int, _ head: Int,
    _ operands: AttentionOperands, memory: UnsafeMutablePointer<Int32>
  ) -> UnsafeBufferPointer<Int32>?
}

extension KeySelectionMethod {
  var hasColumns: Bool { false }
}

extension KeySelector {
  func columns(
    _ batch: Int, _ head: Int, _ operands: AttentionOperands
  ) -> UnsafeBufferPointer<Int32>? { nil }
}

/// Sizes of attention to single keys that are selected, worked out without allocating.
struct KeptKeysLayout: Sendable {
  let problem: AttentionProblem
  let kernels: KernelTable
  let threads: Int
  /// Whether runs bring what a decoder keeps beside its cache.
  let hasCompanion: Bool

  init(
    _ problem: AttentionProblem, threads: Int, kernels: KernelTable, hasCompanion: Bool = false
  ) {
    self.problem = problem
    self.threads = threads
    self.kernels = kernels
    self.hasCompanion = hasCompanion
  }

  func work(_ method: any KeySelectionMethod) -> WorkEstimate {
    let (shape, geometries) = (problem.shape, problem.geometries)
    var (pairs, selecting) = (0, 0)
    for geometry in geometries {
      pairs += method.pairs(under: geometry) * shape.heads
      selecting += method.flops(under: geometry, shape)
    }
    return WorkEstimate(
      pairs: pairs, flops: 2 * pairs * (shape.headDim + shape.valueDim) + selecting,
      minimumBytes: problem.minimumBytes(under: geometries.map { DensePattern($0) }),
      workspaceBytes: workspaceBytes(method))
  }

  /// How rows are regrouped, where they keep what other heads keep and are many.
  func stretches(_ method: any KeySelectionMethod) -> StretchLayout? {
    guard problem.shape.queryLength >= StretchLayout.leastRows else { return nil }
    return method.sharedLists(problem).map { StretchLayout(self, $0) }
  }

  func workspaceBytes(_ method: any KeySelectionMethod) -> Int {
    let stretches = stretches(method).map {
      KeptStretches.bytes($0, threads: threads) + threads * StretchRows.Layout($0).arena.bytes
    }
    return method.bytes(self) + threads * KeptRows.Layout(self, method).arena.bytes
      + (stretches ?? 0)
  }
}

/// A strategy that keeps single keys which it selects from the data: the engine serves it.
public protocol KeySelectingStrategy: FamilyStrategy {
  /// What is selected for a problem.
  func selection(for problem: AttentionProblem) -> KeySelection
}

extension KeySelectingStrategy {
  public var selectsKeys: Bool { true }

  public func work(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    try problem.refuseForSelection(by: name)
    return KeptKeysLayout(problem, threads: threads, kernels: .active)
      .work(selection(for: problem).method)
  }

  public func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    try problem.refuseForSelection(by: name)
    return try KeptKeysPlan(
      KeptKeysLayout(problem, threads: team.threadCount, kernels: .active),
      selection(for: problem).method, team: team)
  }

  public func oracle(for problem: AttentionProblem) -> any AttentionOracle {
    selection(for: problem).method.oracle(for: problem)
  }

  public func decoder(
    for problem: AttentionProblem, cache: CacheChoice, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionDecoder {
    let method = selection(for: problem).method
    let companion = try method.companion(for: problem, kernels: .active)
    return try CachedDecoder(
      self, for: problem, cache: cache.cache(for: problem), companion: companion
    ) { [name] step throws(AttentionError) in
      try step.refuseForSelection(by: name)
      return try KeptKeysPlan(
        KeptKeysLayout(
          step, threads: team.threadCount, kernels: .active, hasCompanion: companion != nil),
        method, team: team)
    }
  }
}

extension AttentionProblem {
  /// Refuses what selections do not know.
  func refuseForSelection(by name: String) throws(AttentionError) {
    try refuse(
      [.window, .mask, .bias, .alibi, .prefix],
      advice: "is not served by \(name), whose selection knows causality and lengths alone; leave "
        + "it out, or use a strategy with a stated pattern such as window")
  }
}
