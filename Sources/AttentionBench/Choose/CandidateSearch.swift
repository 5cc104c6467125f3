import Attention

extension StrategyRegistry {
  /// Everything worth measuring for a problem: what each family proposes, its parameters searched.
  /// Proposals that resolve to the same strategy are taken once.
  ///
  /// - Throws: `AttentionError` when a family proposes something that it refuses itself.
  public func candidates(
    for problem: AttentionProblem
  ) throws(AttentionError) -> [any AttentionStrategy] {
    var known: Set<String> = []
    var strategies: [any AttentionStrategy] = []
    for family in families {
      for text in family.candidates(for: problem) {
        let strategy = try strategy(text)
        if known.insert(strategy.spec(for: problem)).inserted { strategies.append(strategy) }
      }
    }
    return strategies
  }
}
