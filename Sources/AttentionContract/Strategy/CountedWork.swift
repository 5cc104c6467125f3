import Tensors

extension AttentionStrategy {
  /// The work as the harness counts it: the strategy's own, and the bytes of the operands that it
  /// takes beyond query, key and value, each of which must be read once.
  ///
  /// - Throws: as `work(for:threads:)`, and `AttentionError` when the operands' bytes overflow.
  package func countedWork(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    var work = try work(for: problem, threads: threads)
    let (bytes, overflow) = work.minimumBytes.addingReportingOverflow(
      try operands.bytes(on: problem.shape))
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
