import AttentionContract
import AttentionEngines
import AttentionKernels
import MachineTopology
import Tensors

/// Linear attention: the softmax kernel replaced by a product of feature maps.
///
/// o_i = phi(q_i)^T S / (phi(q_i)^T z + 1e-6), S = sum_j phi(k_j) v_j^T, z = sum_j phi(k_j), with
/// phi(x) = elu(x) + 1. S and z are sums over the keys, so work is O(n d dV) instead of O(n^2):
/// not causal, 2 d dV + 2 d operations for each key row and the same for each query row; causal,
/// by chunks of C queries, the recurrent part the same and 2 (d + dV) for each pair within a
/// chunk. Another function of Q, K and V than softmax attention; the scale plays no part in it.
///
/// LSE is the natural logarithm of phi(q_i)^T z.
///
/// When causal with fewer heads than busy workers, or sequences of unequal length, a sequence is cut
/// into parts whose states are summed first; the last bits then depend on the number of workers.
///
/// Katharopoulos 2020, arXiv 2006.16236.
public struct LinearAttention: FamilyStrategy {
  public static let family = StrategyFamily(
    "linear", operatorClass: .different,
    summary: "kernelised attention with feature map elu(x) + 1, O(n) work",
    source: "Katharopoulos 2020, arXiv 2006.16236",
    parameters: [StrategyParameter("phi", "the feature map: elu (default)")]
  ) { arguments throws(AttentionError) in try LinearAttention(arguments) }

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    if let map = arguments.text("phi"), map != "elu" {
      throw AttentionError(
        .invalidArgument, argument: "linear phi", value: map, advice: "the feature map is elu")
    }
  }

  public func resolvedParameters(for problem: AttentionProblem) -> String { "elu" }

  public func work(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    try refuseSoftmaxOptions(of: problem)
    return LinearLayout(problem, threads: threads, kernels: .active).work
  }

  public func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    try refuseSoftmaxOptions(of: problem)
    return try LinearPlan(problem, team: team, kernels: .active)
  }

  /// Keeps a state instead of a cache: memory that does not grow.
  public func decoder(
    for problem: AttentionProblem, cache: CacheChoice, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionDecoder {
    try refuseSoftmaxOptions(of: problem)
    return try RecurrentDecoder(problem, on: team, kernels: .active)
  }

  public func oracle(for problem: AttentionProblem) -> any AttentionOracle {
    LinearOracle(problem)
  }

  /// What acts on the logits of a softmax has nothing to act on here.
  private func refuseSoftmaxOptions(of problem: AttentionProblem) throws(AttentionError) {
    try problem.refuse(
      [.mask, .bias, .alibi, .softcap, .sinkLogits],
      advice: "linear attention has no logits for it to act on; leave it out or use a softmax "
        + "strategy such as flash")
    try problem.refuse(
      [.prefix], advice: "is not served by linear attention")
  }
}
