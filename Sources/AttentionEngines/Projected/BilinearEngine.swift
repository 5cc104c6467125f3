import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// Softmax attention with a matrix a query head between query and key, scale q^T W k: queries are projected
/// once, and everything after it is softmax attention.
package struct BilinearEngine: Sendable {
  private let matrix: OperandDeclaration

  /// - Parameter matrix: `[h, d, d]`; a row is a column of the query.
  package init(_ matrix: OperandDeclaration) { self.matrix = matrix }

  private func projection(_ problem: AttentionProblem) -> RowProjection {
    RowProjection(by: matrix.name, isTransposed: true, columns: problem.shape.headDim)
  }

  /// The problem of projected queries. The matrix has a scale in it.
  private func inner(_ problem: AttentionProblem) throws(AttentionError) -> AttentionProblem {
    try problem.with { _, scoring, _, storage in
      scoring.scale = scoring.scale ?? 1
      storage.query = .float32
    }
  }

  package func work(
    for problem: AttentionProblem, threads: Int, pattern: (MaskGeometry) -> any KeyPattern
  ) throws(AttentionError) -> WorkEstimate {
    let shape = problem.shape
    let products = (2 * shape.query.count).multipliedReportingOverflow(by: shape.headDim)
    if products.overflow {
      throw AttentionError(
        .tooLarge, argument: "headDim", value: shape.headDim,
        advice: "the operations of its projections exceed 2^63; use shorter sequences")
    }
    var work = try SoftmaxEngine().work(for: inner(problem), threads: threads, pattern: pattern)
    work.flops += products.partialValue
    work.minimumBytes = problem.minimumBytes(
      under: LoweredVisibility(problem, pattern: pattern).patterns)
    work.workspaceBytes += ProjectedPlan.workspaceBytes(
      problem, queries: projection(problem), keys: nil, additive: nil, threads: threads)
    return work
  }

  package func plan(
    for problem: AttentionProblem, on team: WorkerTeam, pattern: (MaskGeometry) -> any KeyPattern
  ) throws(AttentionError) -> any AttentionPlan {
    try ProjectedPlan(
      problem, operands: [matrix], queries: projection(problem),
      inner: SoftmaxEngine().stagedPlan(for: inner(problem), on: team, pattern: pattern),
      team: team)
  }
}
