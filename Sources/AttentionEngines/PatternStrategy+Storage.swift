import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// What storing keys and values as another element type makes of a pattern strategy.
extension PatternStrategy {
  /// The element type to convert to; nil where keys and values come stored so.
  func newStorage(for problem: AttentionProblem) -> ElementType? {
    keyValueStorage == problem.storage.keyValue ? nil : keyValueStorage
  }

  public func oracle(for problem: AttentionProblem) -> any AttentionOracle {
    oracle(for: problem, operands: .float32)
  }

  public func arithmeticOracle(for problem: AttentionProblem) -> any AttentionOracle {
    oracle(for: problem, operands: arithmetic)
  }

  private func oracle(
    for problem: AttentionProblem, operands: Arithmetic
  ) -> any AttentionOracle {
    guard let storage = newStorage(for: problem) else {
      return SoftmaxOracle(problem, operands: operands) { pattern(for: $0) }
    }
    return QuantisedOracle(problem, storedAs: storage, operands: operands) { pattern(for: $0) }
  }

  /// A decoder's cache stores rows so as they arrive: nothing is converted twice.
  public func decoder(
    for problem: AttentionProblem, cache: CacheChoice, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionDecoder {
    let stored =
      try newStorage(for: problem).map { storage throws(AttentionError) in
        try QuantisedPlan.inner(problem, storage)
      } ?? problem
    return try CachedDecoder(self, for: stored, cache: cache.cache(for: stored), on: team)
  }
}
