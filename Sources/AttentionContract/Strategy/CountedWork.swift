import Tensors

/// What of a model's work is computed.
public enum AttentionPass: String, Sendable, CaseIterable {
  /// All rows of a sequence at once, as in prefill.
  case forward
  /// A step of a few new tokens, those before them having been taken in.
  case decode
}

extension AttentionStrategy {
  /// The work as the harness counts it: the strategy's own, and the bytes of the operands that it
  /// takes beyond query, key and value, each of which must be read once.
  ///
  /// - Parameter pass: a step reads the operands of its own tokens where a state is kept of the others.
  /// - Throws: as `work(for:threads:)`, and `AttentionError` when the operands' bytes overflow.
  package func countedWork(
    for problem: AttentionProblem, threads: Int, pass: AttentionPass = .forward
  ) throws(AttentionError) -> WorkEstimate {
    var work: WorkEstimate
    var read = problem.shape
    switch pass {
    case .forward: work = try self.work(for: problem, threads: threads)
    case .decode:
      work = try stepWork(for: problem, threads: threads)
      if keepsState { read.keyLength = read.queryLength }
    }
    let (bytes, overflow) = work.minimumBytes.addingReportingOverflow(
      try operands.bytes(on: read))
    guard !overflow else {
      throw AttentionError(
        .tooLarge, argument: "operands of \(name)", value: "\(problem.shape.key)",
        advice: "their bytes must fit 63 bits; use a smaller problem")
    }
    work.minimumBytes = bytes
    return work
  }

  /// Whether it is another function than softmax attention, of operands that softmax attention does
  /// not have: its distance from softmax attention then means nothing.
  package var needsTrainedModel: Bool {
    operatorClass == .different && operands.contains { !$0.isOptional }
  }
}
