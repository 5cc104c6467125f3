import Attention
import Measuring
import Records
import Statistics
import Units

/// Brute force, for holding a choice against it.
extension ChoiceEngine {
  /// Looks at every candidate of every series.
  ///
  /// - Returns: what was seen, in the order of the looks; those of a stopped survey so far.
  /// - Throws: when tensors or the reference cannot be had.
  public func survey() throws -> [Candidate] {
    try search(for: [])
    try instruments.executor.load(question.problem)
    defer { instruments.executor.unload() }
    for strategy in question.series.joined() where !stop.isRaised { try look(at: strategy) }
    return recommendation.candidates
  }

  /// Times some of the candidates that were looked at side by side, as exactly as a mix and a single
  /// strategy are.
  ///
  /// - Parameter strategies: with their parameters resolved; one that is not known is left out.
  /// - Throws: when tensors cannot be had.
  public func timeBeside(_ strategies: [String]) throws -> [Candidate] {
    let cells = strategies.compactMap { assessments[$0]?.cell }
    try time(cells, isFinal: true)
    return strategies.compactMap { assessments[$0]?.candidate }
  }
}
