import MachineTopology

/// Softmax attention over any key pattern: its work and its plans.
public struct SoftmaxEngine: Sendable {
  private let queryRows: Int?
  private let keyRows: Int?

  /// An engine with block sizes from the caches, or as given.
  ///
  /// - Parameters:
  ///   - queryRows: query rows that share a block of keys; rounded up to whole panels.
  ///   - keyRows: keys in a block; rounded up to whole tiles, at most the kernels' limit.
  public init(queryRows: Int? = nil, keyRows: Int? = nil) {
    self.queryRows = queryRows
    self.keyRows = keyRows
  }

  /// Counts the work of softmax attention under a pattern.
  ///
  /// - Complexity: O(nQ) pattern look-ups for each distinct offset of the batch.
  public func work(
    for problem: AttentionProblem, threads: Int, pattern: (MaskGeometry) -> any KeyPattern
  ) -> WorkEstimate {
    let layout = layout(problem, threads: threads, pattern: pattern)
    let shape = problem.shape
    return WorkEstimate(
      pairs: layout.pairs, flops: 2 * layout.pairs * (shape.headDim + shape.valueDim),
      minimumBytes: problem.tensorBytes, workspaceBytes: layout.workspaceBytes)
  }

  /// Makes a plan for softmax attention under a pattern.
  ///
  /// - Throws: `AttentionError` of kind `outOfMemory` when the workspace is refused.
  public func plan(
    for problem: AttentionProblem, on team: WorkerTeam,
    pattern: (MaskGeometry) -> any KeyPattern
  ) throws(AttentionError) -> any AttentionPlan {
    try problem.refuse(
      [.queryLengths, .mask, .bias, .alibi], advice: "is not served by this strategy")
    return try SoftmaxPlan(
      problem, layout: layout(problem, threads: team.threadCount, pattern: pattern), team: team)
  }

  /// The block sizes in force for a problem on this machine: panels of
  /// `KernelTable.active.panelLanes` query rows, and keys.
  public func blocks(for problem: AttentionProblem) -> BlockSizes {
    let shape = problem.shape
    return BlockSizes.fitting(
      .host, shape: shape, kernels: .active, rows: shape.queryLength * shape.groupSize,
      queryRows: queryRows, keyRows: keyRows)
  }

  private func layout(
    _ problem: AttentionProblem, threads: Int, pattern: (MaskGeometry) -> any KeyPattern
  ) -> SoftmaxPlan.Layout {
    SoftmaxPlan.Layout(
      problem, threads: threads, kernels: .active, blocks: blocks(for: problem),
      pattern: pattern)
  }
}

/// A strategy that is softmax over a key pattern: `pattern(for:)` is all it has to say.
public protocol PatternStrategy: AttentionStrategy {
  /// The engine, where the strategy wants other block sizes than the caches suggest.
  var engine: SoftmaxEngine { get }
}

extension PatternStrategy {
  public var engine: SoftmaxEngine { SoftmaxEngine() }

  public func work(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    engine.work(for: problem, threads: threads) { pattern(for: $0) }
  }

  public func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    try engine.plan(for: problem, on: team) { pattern(for: $0) }
  }
}
