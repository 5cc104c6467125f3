import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// Softmax attention with additive scores, v . tanh(Wq q + Wk k): queries and keys are projected once, and
/// panels of queries meet blocks of keys as they do with products. Memory is O(n).
package struct AdditiveEngine: Sendable {
  private let units: AdditiveUnits
  private let operands: [OperandDeclaration]
  private let names: (query: String, key: String, weights: String)

  /// - Parameters:
  ///   - hidden: hidden units.
  ///   - operands: the weights of queries `[h, hidden, d]`, of keys `[hKV, hidden, d]` and of hidden units
  ///     `[h, hidden]`.
  package init(
    hidden: Int, query: OperandDeclaration, key: OperandDeclaration, weights: OperandDeclaration
  ) {
    units = AdditiveUnits(count: hidden)
    operands = [query, key, weights]
    names = (query.name, key.name, weights.name)
  }

  private var queries: RowProjection { RowProjection(by: names.query, columns: units.count) }
  private var keys: RowProjection { RowProjection(by: names.key, columns: units.count) }

  /// The problem of projected rows.
  private func inner(_ problem: AttentionProblem) throws(AttentionError) -> AttentionProblem {
    try problem.with { shape, _, _, storage in
      shape.headDim = units.count
      storage.query = .float32
    }
  }

  package func work(
    for problem: AttentionProblem, threads: Int, pattern: (MaskGeometry) -> any KeyPattern
  ) throws(AttentionError) -> WorkEstimate {
    let shape = problem.shape
    let projected =
      shape.batch * (shape.heads * shape.queryLength + shape.kvHeads * shape.keyLength)
    let (projections, overflow) = projected.multipliedReportingOverflow(
      by: 2 * units.count * shape.headDim)
    if overflow {
      throw AttentionError(
        .tooLarge, argument: "hidden", value: units.count,
        advice: "the operations of its projections exceed 2^63; use shorter sequences")
    }
    var work = try SoftmaxEngine(additive: units).work(
      for: inner(problem), threads: threads, pattern: pattern)
    work.flops = work.pairs * (units.flops + 2 * shape.valueDim) + projections
    work.minimumBytes = problem.minimumBytes(
      under: LoweredVisibility(problem, pattern: pattern).patterns)
    work.workspaceBytes += ProjectedPlan.workspaceBytes(
      problem, queries: queries, keys: keys, additive: units, threads: threads)
    return work
  }

  package func plan(
    for problem: AttentionProblem, on team: WorkerTeam, pattern: (MaskGeometry) -> any KeyPattern
  ) throws(AttentionError) -> any AttentionPlan {
    let inner = try inner(problem)
    let weights = try AdditiveWeights(
      units, heads: problem.shape.heads, scale: problem.scoring.scale ?? 1)
    return try ProjectedPlan(
      problem, operands: operands, queries: queries, keys: keys,
      weights: (weights, names.weights),
      inner: SoftmaxEngine(additive: units).stagedPlan(
        for: inner, on: team, additive: weights, pattern: pattern), team: team)
  }
}
