import Attention

/// The sizes that all cells of a sweep have in common; n is what varies.
public struct SweepShape: Hashable, Sendable {
  /// b.
  public var batch = 1
  /// h.
  public var heads = 4
  /// hKV; h is a multiple of it.
  public var kvHeads = 4
  /// d.
  public var headDim = 64
  /// dV.
  public var valueDim = 64
  /// Whether the causal mask is on.
  public var causal = false
  /// The factor on the scores; nil stands for 1/sqrt(d).
  public var scale: Float?

  /// One sequence of 4 heads of 64, without a mask.
  public init() {}

  /// The problem of size n: self-attention, nQ = nKV = n.
  ///
  /// - Throws: `AttentionError` naming the size that cannot be served.
  public func problem(n: Int) throws(AttentionError) -> AttentionProblem {
    try AttentionProblem(
      AttentionShape(
        batch: batch, heads: heads, kvHeads: kvHeads, queryLength: n, headDim: headDim,
        valueDim: valueDim),
      scale: scale, causal: causal)
  }
}

/// Which cells a sweep consists of: a value, made before anything is allocated or run.
public struct SweepPlan: Sendable {
  /// The sizes, rising.
  public let sizes: [Int]
  /// What all cells share.
  public let shape: SweepShape
  /// Thread counts and bindings.
  public let placements: [SweepPlacement]
  /// Seeds the inputs, the order of the rounds and the choice of checked rows.
  public let seed: UInt64
  /// Size by size; within a size by strategy, then by placement.
  public let cells: [SweepCell]

  /// Every strategy at every size on every placement. A strategy that is written twice, or whose
  /// parameters resolve to the same, is one cell.
  ///
  /// - Throws: `AttentionError` when a size cannot be served. A strategy that cannot serve a size
  ///   gets a cell all the same: its failure is a result.
  public init(
    sizes: [Int], strategies: [any AttentionStrategy], placements: [SweepPlacement],
    shape: SweepShape, seed: UInt64
  ) throws(AttentionError) {
    var cells: [SweepCell] = []
    var known: Set<String> = []
    for n in sizes {
      let problem = try shape.problem(n: n)
      for (row, strategy) in strategies.enumerated() {
        for (column, placement) in placements.enumerated() {
          let cell = SweepCell(
            problem: problem, n: n, strategy: strategy, placement: placement,
            curve: row * placements.count + column)
          if known.insert(cell.id).inserted { cells.append(cell) }
        }
      }
    }
    self.sizes = sizes
    self.shape = shape
    self.placements = placements
    self.seed = seed
    self.cells = cells
  }

  /// The cells of one size.
  public func cells(n: Int) -> [SweepCell] { cells.filter { $0.n == n } }
}
