import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// What queries are multiplied by before they attend, and keys where scores are additive: matrices of their
/// heads, which a run brings as operands.
public struct ScoreProjection: Sendable {
  let operands: [OperandDeclaration]
  let queries: RowProjection
  let keys: RowProjection?
  /// Hidden units of additive scores, and the operand that weighs them; nil where scores are products.
  let additive: (units: AdditiveUnits, weights: String)?
  /// The size that operations of the projections grow with.
  private let size: String

  /// Scores scale q^T W k.
  ///
  /// - Parameter matrix: `[1, h, d, d]`; a row is a column of the query.
  public init(bilinear matrix: OperandDeclaration, for problem: AttentionProblem) {
    operands = [matrix]
    queries = RowProjection(
      by: matrix.name, isTransposed: true, columns: problem.shape.headDim)
    (keys, additive) = (nil, nil)
    size = "headDim"
  }

  /// Scores scale v . tanh(Wq q + Wk k).
  ///
  /// - Parameters:
  ///   - hidden: hidden units.
  ///   - query, key, weights: `[1, h, hidden, d]`, `[1, hKV, hidden, d]` and `[1, h, hidden]`.
  public init(
    additive hidden: Int, query: OperandDeclaration, key: OperandDeclaration,
    weights: OperandDeclaration
  ) {
    operands = [query, key, weights]
    queries = RowProjection(by: query.name, columns: hidden)
    keys = RowProjection(by: key.name, columns: hidden)
    additive = (AdditiveUnits(count: hidden), weights.name)
    size = "hidden"
  }

  /// The engine of what was projected.
  fileprivate var engine: SoftmaxEngine {
    additive.map { SoftmaxEngine(additive: $0.units) } ?? SoftmaxEngine()
  }

  /// The problem of projected rows: what they were multiplied by has a scale in it.
  fileprivate func inner(_ problem: AttentionProblem) throws(AttentionError) -> AttentionProblem {
    try problem.with { shape, scoring, _, storage in
      shape.headDim = queries.columns
      scoring.scale = scoring.scale ?? 1
      storage.query = .float32
    }
  }

  /// Operations of the projections: products of d a column.
  fileprivate func flops(_ shape: AttentionShape) throws(AttentionError) -> Int {
    let rows =
      shape.batch
      * (shape.heads * shape.queryLength + (keys == nil ? 0 : shape.kvHeads * shape.keyLength))
    let (flops, overflow) = rows.multipliedReportingOverflow(
      by: 2 * queries.columns * shape.headDim)
    if overflow {
      throw AttentionError(
        .tooLarge, argument: size, value: queries.columns,
        advice: "the operations of its projections exceed 2^63; use shorter sequences")
    }
    return flops
  }
}

/// A strategy that is softmax attention on what queries, and keys, are projected to: everything after that is
/// softmax attention. Memory is O(n).
public protocol ProjectedStrategy: FamilyStrategy {
  /// What is projected for a problem.
  func projection(for problem: AttentionProblem) -> ScoreProjection
}

extension ProjectedStrategy {
  public func work(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    let projection = projection(for: problem)
    let projecting = try projection.flops(problem.shape)
    var work = try projection.engine.work(for: projection.inner(problem), threads: threads) {
      pattern(for: $0)
    }
    work.flops += projecting
    work.minimumBytes = problem.minimumBytes(
      under: LoweredVisibility(problem) { pattern(for: $0) }.patterns)
    work.workspaceBytes += ProjectedPlan.workspaceBytes(problem, projection, threads: threads)
    return work
  }

  public func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    let projection = projection(for: problem)
    let inner = try projection.inner(problem)
    let weights = try projection.additive.map { additive throws(AttentionError) in
      try AdditiveWeights(
        additive.units, heads: problem.shape.heads, scale: problem.scoring.scale ?? 1)
    }
    return try ProjectedPlan(
      problem, projection, weights: weights,
      inner: projection.engine.stagedPlan(for: inner, on: team, additive: weights) {
        pattern(for: $0)
      }, team: team)
  }
}
