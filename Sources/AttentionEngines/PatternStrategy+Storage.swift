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
    oracle(for: problem, operands: .float32) { pattern(for: $0) }
  }

  public func arithmeticOracle(for problem: AttentionProblem) -> any AttentionOracle {
    oracle(for: problem, operands: arithmetic) { pattern(for: $0) }
  }

  public func roundingOracle(
    for problem: AttentionProblem, draw: UInt64
  ) -> (any AttentionOracle)? {
    guard arithmetic.hasRowScales else { return nil }
    return oracle(for: problem, operands: arithmetic, draw: draw) { pattern(for: $0) }
  }

  public func fullOracle(for problem: AttentionProblem) -> any AttentionOracle {
    oracle(for: problem, operands: arithmetic) { DensePattern($0) }
  }

  private func oracle(
    for problem: AttentionProblem, operands: Arithmetic, draw: UInt64? = nil,
    pattern: (MaskGeometry) -> any KeyPattern
  ) -> any AttentionOracle {
    if let storage = newStorage(for: problem) {
      return QuantisedOracle(
        problem, storedAs: storage, operands: operands, draw: draw, pattern: pattern)
    }
    if operands.hasRowScales {
      return ScaledOracle(problem, operands: operands, draw: draw, pattern: pattern)
    }
    return SoftmaxOracle(problem, operands: operands, pattern: pattern)
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
