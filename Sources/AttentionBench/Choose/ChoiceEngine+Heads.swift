import Attention

extension ChoiceEngine {
  /// Chooses for each head, runs the mix and times it beside the best single strategy; call it
  /// once, instead of `run`.
  ///
  /// What a strategy costs on one head is measured twice over, because neither figure alone is the
  /// cost within a mix: on the problem of a single head, with all workers on it, and as its time on
  /// all heads. Each gives a mix; where the two differ, both are run and the faster is kept.
  ///
  /// - Returns: nil when it was stopped, or when nothing could be measured.
  /// - Throws: when tensors or the reference cannot be had.
  public func runPerHead() throws -> PerHeadRecommendation? {
    let heads = question.problem.shape.heads
    let goals = [ChoiceGoal.everyHead] + (0..<heads).map { ChoiceGoal.head($0) }
    try search(for: goals)
    let cells = contenders(for: goals)
    try time(cells)
    let alone = try secondsOfOneHead(cells)
    if stop.isRaised { return nil }
    let single = recommendation

    let candidates = cells.compactMap { cell -> Contender? in
      guard let assessment = assessments[cell.spec], let errors = assessment.errors,
        let seconds = assessment.seconds, let one = alone[cell.spec]
      else { return nil }
      return Contender(
        strategy: cell.strategy, spec: cell.spec, seconds: seconds, alone: one,
        errors: errors.heads.map(\.upper))
    }
    guard !candidates.isEmpty else { return nil }
    let mixes = try mixes(of: candidates)
    let best = single.choice.flatMap { assessments[$0]?.cell }
    return try duel(mixes, single: single, best: best, candidates: candidates)
  }

  /// A candidate that may be the cheapest on some head.
  private struct Contender {
    let strategy: any AttentionStrategy
    let spec: String
    /// On all heads.
    let seconds: Double
    /// On one head.
    let alone: Double
    let errors: [Double]
  }

  /// Measured times on the problem of one head, by strategy.
  private func secondsOfOneHead(_ cells: [SweepCell]) throws -> [String: Double] {
    let problem = try question.problem.forHead(0)
    let alone = cells.map {
      SweepCell(
        problem: problem, n: $0.n, strategy: $0.strategy, placement: $0.placement, curve: 0)
    }
    let rows = try rows(of: alone)
    let seconds = Dictionary(
      rows.compactMap { row in
        row.status.isMeasured ? row.time.median.map { (row.cellID, $0) } : nil
      },
      uniquingKeysWith: { first, _ in first })
    return Dictionary(
      zip(cells, alone).compactMap { whole, one in seconds[one.id].map { (whole.spec, $0) } },
      uniquingKeysWith: { first, _ in first })
  }

  /// The mixes worth running: each head's cheapest by either measure of cost.
  private func mixes(of candidates: [Contender]) throws -> [(mix: MixedAttention, choice: [Int])] {
    let heads = question.problem.shape.heads
    var mixes: [(mix: MixedAttention, choice: [Int])] = []
    for cost in [\Contender.alone, \Contender.seconds] {
      let choice = HeadAssignment(
        heads: heads,
        options: candidates.map {
          HeadAssignment.Option(strategy: $0.spec, cost: $0[keyPath: cost], errors: $0.errors)
        }, limit: question.requirements.maximumError
      ).choice
      if mixes.contains(where: { $0.choice == choice }) { continue }
      mixes.append((try MixedAttention(choice.map { candidates[$0].strategy }), choice))
    }
    return mixes
  }

  /// Times the mixes and the single strategy in the same rounds.
  private func duel(
    _ mixes: [(mix: MixedAttention, choice: [Int])], single: Recommendation, best: SweepCell?,
    candidates: [Contender]
  ) throws -> PerHeadRecommendation? {
    let executor = instruments.executor
    try executor.load(question.problem)
    for mix in mixes { try look(at: mix.mix) }
    executor.unload()
    let cells = mixes.map { cell($0.mix) }
    let rows = try rows(of: cells + [best].compactMap { $0 }, isFinal: true)
    if stop.isRaised { return nil }
    func row(of cell: SweepCell) -> ResultRow? { rows.first { $0.cellID == cell.id } }
    func seconds(_ cell: SweepCell) -> Double { row(of: cell)?.time.median ?? .infinity }
    guard
      let place = cells.indices.min(by: { seconds(cells[$0]) < seconds(cells[$1]) }),
      let mixRow = row(of: cells[place]), let errors = assessments[cells[place].spec]?.errors
    else { return nil }

    let mix = Candidate(mixRow, errors: errors)
    let beside = best.flatMap { cell in
      row(of: cell).map { Candidate($0, errors: assessments[cell.spec]?.errors) }
    }
    let choice = mixes[place].choice
    let total = choice.reduce(0) { $0 + candidates[$1].alone }
    let limit = question.requirements.maximumError ?? .infinity
    let heads = choice.enumerated().map { head, option in
      PerHeadRecommendation.Head(
        head: head, strategy: candidates[option].spec, relativeError: errors.heads[head].upper,
        secondsAlone: candidates[option].alone,
        timeShare: total > 0 ? candidates[option].alone / total : 0,
        isAdmissible: errors.heads[head].upper <= limit)
    }
    let isSingleBetter =
      single.verdict == .admissible
      && (beside?.seconds ?? .infinity) <= (mix.seconds ?? .infinity)
    let plan =
      isSingleBetter
      ? heads.map { _ in single.choice ?? "" } : heads.map(\.strategy)
    return PerHeadRecommendation(
      single: single, heads: heads, mix: mix, singleBeside: beside,
      misses: question.requirements.misses(of: mix), plan: plan)
  }
}
