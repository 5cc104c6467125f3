import Attention
import MachineTopology
import Records
import Statistics
import Units

/// What each query head's own strategy keeps of full attention, on sampled rows of the head.
package enum HeadRecalls {
  /// Rows of a head at most and at least.
  private static let rowCounts = 8...32
  /// Products of all rows together that are cheap, as long as that leaves a head the least rows.
  private static let affordable = 500_000_000

  /// Works them out head by head, since the scores of all heads' rows may take more memory than the tensors.
  ///
  /// - Parameters:
  ///   - strategies: one for each query head.
  ///   - tensors: fp32, with the operands that the strategies take.
  ///   - stop: leaves out the heads that are left.
  /// - Returns: one for each head; nil of a strategy that is no softmax over a subset of the keys.
  /// - Complexity: for m rows a head O(m nKV (d + log nKV)), and 12 bytes for each of m nKV scores.
  package static func compute(
    _ strategies: [any AttentionStrategy], on problem: AttentionProblem, tensors: ProblemTensors,
    seed: UInt64, stop: StopFlag, team: WorkerTeam
  ) -> [Recall?] {
    let shape = problem.shape
    let all = affordable / (shape.keyLength * shape.headDim) / (shape.batch * shape.heads)
    let rows = AccuracyCheck(
      shape, rowsPerHead: min(max(all, rowCounts.lowerBound), rowCounts.upperBound), seed: seed
    ).rows
    return strategies.enumerated().map { head, strategy in
      guard strategy.operatorClass == .restricted, !stop.isRaised else { return nil }
      let reference = RecallReference(
        problem, rows: rows.filter { $0.head == head }, tensors.views, on: team)
      return reference.recall(
        of: strategy.oracle(for: problem), tensors.views(for: strategy), on: team)
    }
  }
}
