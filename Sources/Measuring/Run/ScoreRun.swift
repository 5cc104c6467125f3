import Attention
import MachineTopology
import Records
import Statistics
import TensorFiles
import Units

/// The score matrix of a problem on tensors from files.
public enum ScoreRun {
  /// Computes it: `[b, h, nQ, nKV]` in fp32, or `[h, nQ, nKV]` where the query has rank 3 for want
  /// of a batch axis. Rows of queries not in use are 0, and -inf where masked scores are.
  ///
  /// - Parameters:
  ///   - stage: how far the scores have come.
  ///   - strategy: whose key pattern hides pairs.
  ///   - problem: has the shape of `file`; its element types do not matter.
  ///   - memory: what the matrix is held against before it is allocated; nil where unknown.
  /// - Throws: `AttentionError` when the strategy has no such matrix or memory does not suffice,
  ///   and `TensorAllocationError`.
  public static func compute(
    _ stage: ScoreStage, _ strategy: any AttentionStrategy, on problem: ProblemSettings,
    of file: FileProblem, team: WorkerTeam, memory: MachineMemory? = .current()
  ) throws -> FileTensor {
    func refusal(_ value: String, _ advice: String) -> AttentionError {
      AttentionError(.invalidArgument, argument: "scores", value: value, advice: advice)
    }
    if strategy.operatorClass == .different {
      throw refusal(
        strategy.name, "computes no softmax of scores; use full, flash or a pattern")
    }
    if file.isPacked {
      throw refusal(
        "of packed sequences", "is a matrix for each sequence; run one sequence at a time")
    }
    if strategy.selectsKeys {
      throw refusal(
        "of \(strategy.name)", "would be those of all keys; leave --scores out, or name flash")
    }
    var settings = problem
    settings.storage = Storage()
    let problem = try settings.problem(on: file.shape)
    let shape = try ScoreMatrix.shape(for: problem)
    let bytes = shape.count * MemoryLayout<Float>.stride
    if let available = memory?.availableBytes, bytes > available {
      throw AttentionError(
        .outOfMemory, argument: "score matrix", value: ByteCount(bytes).rounded,
        advice: "only \(ByteCount(available).rounded) of memory can be had; use fewer queries")
    }
    return try FileTensor(shape: file.scoreShape, elementType: .float32) { bytes in
      // A checked shape has at least one element, so there is a first one.
      guard let base = bytes.bindMemory(to: Float.self).baseAddress else { return }
      if problem.visibility.queryLengths != nil {
        base.update(repeating: stage == .masked ? -.infinity : 0, count: shape.count)
      }
      try file.withViews { query, key, _ in
        try ScoreMatrix.compute(
          stage, of: problem, pattern: { strategy.pattern(for: $0) }, query: query, key: key,
          into: MutableTensorView(base, shape: shape), on: team)
      }
    }
  }
}
