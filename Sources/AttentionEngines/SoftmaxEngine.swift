import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// Softmax attention over any key pattern: its work and its plans.
public struct SoftmaxEngine: Sendable {
  private let queryRows: Int?
  private let keyRows: Int?
  private let arithmetic: Arithmetic
  private let additive: AdditiveUnits?

  /// An engine with block sizes from the caches, or as given.
  ///
  /// - Parameters:
  ///   - queryRows: query rows that share a block of keys; rounded up to whole panels.
  ///   - keyRows: keys in a block; rounded up to whole tiles, at most the kernels' limit.
  ///   - arithmetic: what products are taken in. Plans are refused where the processor has no such
  ///     instructions.
  public init(
    queryRows: Int? = nil, keyRows: Int? = nil, arithmetic: Arithmetic = .float32
  ) {
    self.queryRows = queryRows
    self.keyRows = keyRows
    self.arithmetic = arithmetic
    additive = nil
  }

  /// An engine for additive scores: the key and query rows of its problems are projections to hidden units.
  /// Tasks are large, since the exponentials of a block of keys are taken once for each.
  init(additive: AdditiveUnits) {
    (queryRows, keyRows, arithmetic) = (256, nil, .float32)
    self.additive = additive
  }

  /// Counts the work of softmax attention under a pattern.
  ///
  /// - Throws: `AttentionError` of kind `invalidArgument` when the processor cannot multiply so.
  /// - Complexity: O(nQ) pattern look-ups for each distinct offset of the batch; a mask or a bias
  ///   is read once.
  public func work(
    for problem: AttentionProblem, threads: Int, pattern: (MaskGeometry) -> any KeyPattern
  ) throws(AttentionError) -> WorkEstimate {
    try arithmetic.refuseWhereMissing(in: .active)
    let layout = layout(problem, threads: threads, pattern: pattern)
    let shape = problem.shape
    let pairs = layout.visibility.pairs(layout.kernels)
    return WorkEstimate(
      pairs: pairs,
      flops: pairs * ((additive?.flops ?? 2 * shape.headDim) + 2 * shape.valueDim),
      minimumBytes: problem.minimumBytes(under: layout.visibility.patterns),
      workspaceBytes: isDecode(problem)
        ? DecodeLayout(problem, kernels: .active, pattern: pattern)
          .workspaceBytes(threads: threads) : layout.workspaceBytes)
  }

  /// Makes a plan for softmax attention under a pattern. A few query rows get one that is bound by
  /// memory instead of arithmetic.
  ///
  /// - Throws: `AttentionError` of kind `outOfMemory` when the workspace is refused, of kind
  ///   `invalidArgument` when the processor cannot multiply so.
  public func plan(
    for problem: AttentionProblem, on team: WorkerTeam,
    pattern: (MaskGeometry) -> any KeyPattern
  ) throws(AttentionError) -> any AttentionPlan {
    try stagedPlan(for: problem, on: team, pattern: pattern)
  }

  func stagedPlan(
    for problem: AttentionProblem, on team: WorkerTeam,
    additive weights: AdditiveWeights? = nil, pattern: (MaskGeometry) -> any KeyPattern
  ) throws(AttentionError) -> any StagedPlan {
    if isDecode(problem) {
      return try DecodePlan(
        DecodeLayout(problem, kernels: .active, pattern: pattern), team: team)
    }
    try arithmetic.refuseWhereMissing(in: .active)
    return try SoftmaxPlan(
      problem, layout: layout(problem, threads: team.threadCount, pattern: pattern),
      additive: weights, team: team)
  }

  /// Whether a problem has so few query rows that memory is the limit. Products that are asked for in
  /// another arithmetic are taken in it all the same. Additive scores are never limited by memory.
  private func isDecode(_ problem: AttentionProblem) -> Bool {
    arithmetic == .float32 && additive == nil && DecodePlan.serves(problem)
  }

  /// The block sizes in force for a problem on this machine: panels of
  /// `KernelTable.active.panelLanes` query rows, and keys.
  public func blocks(for problem: AttentionProblem) -> BlockSizes {
    let shape = problem.shape
    return BlockSizes.fitting(
      .host, shape: shape, kernels: .active, rows: shape.queryLength * shape.groupSize,
      queryRows: queryRows, keyRows: keyRows,
      tile: OperandFormat(arithmetic, in: .active).tileKeys(.active),
      // Rows with scales are made for a task each time, and its products take less time.
      mostPanels: arithmetic.hasRowScales ? 32 : 16)
  }

  /// The costs of the tasks of a run in the order in which they are dealt, for each of the stages
  /// that follow each other: how evenly the workers are kept busy can be told from them.
  package func taskCosts(
    for problem: AttentionProblem, threads: Int, pattern: (MaskGeometry) -> any KeyPattern
  ) throws(AttentionError) -> [[Int]] {
    let layout = layout(problem, threads: threads, pattern: pattern)
    var visibility = layout.visibility
    try visibility.readTiles(layout.kernels)
    return TaskList(
      tables: visibility.patterns.map { PatternTable($0) }, map: visibility.tiles,
      shape: problem.shape, panelLanes: layout.kernels.panelLanes, panels: layout.blocks.panels,
      threads: threads
    ).stages.map { $0.tasks.map(\.cost) }
  }

  private func layout(
    _ problem: AttentionProblem, threads: Int, pattern: (MaskGeometry) -> any KeyPattern
  ) -> SoftmaxPlan.Layout {
    SoftmaxPlan.Layout(
      problem, threads: threads, kernels: .active, arithmetic: arithmetic,
      blocks: blocks(for: problem), additive: additive, pattern: pattern)
  }
}

/// A strategy that is softmax over a key pattern: `pattern(for:)` is all it has to say.
public protocol PatternStrategy: FamilyStrategy {
  /// The engine, where the strategy wants other block sizes than the caches suggest.
  var engine: SoftmaxEngine { get }
}

extension PatternStrategy {
  public var engine: SoftmaxEngine { SoftmaxEngine(arithmetic: arithmetic) }

  public func work(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    guard let storage = newStorage(for: problem) else {
      return try engine.work(for: problem, threads: threads) { pattern(for: $0) }
    }
    let inner = try QuantisedPlan.inner(problem, storage)
    var work = try engine.work(for: inner, threads: threads) { pattern(for: $0) }
    work.minimumBytes = problem.minimumBytes
    work.workspaceBytes += QuantisedPlan.workspaceBytes(problem, storage, threads: threads)
    return work
  }

  public func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    guard let storage = newStorage(for: problem) else {
      return try engine.plan(for: problem, on: team) { pattern(for: $0) }
    }
    let inner = try engine.stagedPlan(for: QuantisedPlan.inner(problem, storage), on: team) {
      pattern(for: $0)
    }
    return try QuantisedPlan(problem, storedAs: storage, inner: inner, team: team) {
      pattern(for: $0)
    }
  }
}
