import Attention
import Measuring
import Records
import Statistics
import Units

extension StrategyRegistry {
  /// Everything that may be worth measuring for a problem, as the families propose it: series of
  /// strategies, in each of which cost rises and the error falls as a rule. A strategy that several
  /// series have is in the first of them only.
  ///
  /// - Throws: `AttentionError` when a family proposes something that it refuses itself.
  public func candidateSeries(
    for problem: AttentionProblem, density: SearchDensity = .search
  ) throws(AttentionError) -> [[any AttentionStrategy]] {
    var known: Set<String> = []
    var all: [[any AttentionStrategy]] = []
    for family in families {
      for texts in family.candidateSeries(for: problem, density: density) {
        var series: [any AttentionStrategy] = []
        for text in texts {
          let strategy = try strategy(text)
          // What a model that is to be served does not have cannot be what it should run.
          if strategy.operands.contains(where: { !$0.isOptional }) { continue }
          if known.insert(strategy.spec(for: problem)).inserted { series.append(strategy) }
        }
        if !series.isEmpty { all.append(series) }
      }
    }
    return all
  }
}
