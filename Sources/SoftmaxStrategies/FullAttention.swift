import AttentionContract
import AttentionEngines
import AttentionKernels
import MachineTopology
import Tensors

/// Softmax attention with the score matrix materialised: the textbook baseline.
///
/// One head at a time, `S = Q K^T` by sgemm into an `nQ x nKV` matrix, softmax row by row, `O = P V`
/// by sgemm. Truly quadratic memory: 4 nQ nKV bytes, 40 GB a head at n = 100,000. Under a causal
/// mask each block of rows stops at the last key any of them sees. The workspace counts what a plan
/// holds; OpenBLAS keeps packing buffers of its own, and for small products takes one in each call.
///
/// Vaswani 2017, arXiv 1706.03762.
public struct FullAttention: FamilyStrategy {
  public static let family = StrategyFamily(
    "full", aliases: ["exact"], operatorClass: .exact,
    summary: "materialised scores: sgemm, row softmax, sgemm (OpenBLAS)",
    source: "Vaswani 2017, arXiv 1706.03762"
  ) { arguments throws(AttentionError) in try FullAttention(arguments) }

  public var usesBLAS: Bool { true }

  init(_ arguments: StrategyArguments) throws(AttentionError) {}

  public func resolvedParameters(for problem: AttentionProblem) -> String { "" }

  public func work(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    let shape = problem.shape
    let visibility = LoweredVisibility(problem) { DensePattern($0) }
    let pairs = visibility.pairs(.active)
    return WorkEstimate(
      pairs: pairs, flops: 2 * pairs * (shape.headDim + shape.valueDim),
      minimumBytes: problem.minimumBytes(under: visibility.patterns),
      workspaceBytes: MaterialisedPlan.workspaceBytes(problem, visibility, threads: threads))
  }

  public func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    try MaterialisedPlan(problem, LoweredVisibility(problem) { DensePattern($0) }, team: team)
  }
}
