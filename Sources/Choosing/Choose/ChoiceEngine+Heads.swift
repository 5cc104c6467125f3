import Attention
import Measuring
import Records
import Statistics
import Units

/// Why a choice for each head came to nothing.
public struct NoPlanError: Error, Equatable, CustomStringConvertible {
  /// What was missing, with the reason of every candidate that could not be measured.
  public let description: String
}

extension ChoiceEngine {
  /// Chooses for each head, runs the mix and times it beside the best single strategy; call it
  /// once, instead of `run`.
  ///
  /// What a strategy costs on one head is measured twice over, because neither figure alone is the
  /// cost within a mix: on the problem of a single head, with all workers on it, and as its time on
  /// all heads. Each gives a mix; where the two differ, both are run and the faster is kept.
  ///
  /// - Returns: nil when it was stopped.
  /// - Throws: `NoPlanError` when no candidate or no mix could be measured, and when tensors or the
  ///   reference cannot be had.
  public func runPerHead() throws -> PerHeadRecommendation? {
    let heads = question.problem.shape.heads
    let goals = [ChoiceGoal.everyHead] + (0..<heads).map { ChoiceGoal.head($0) }
    try search(for: goals)
    let cells = contenders(for: goals)
    try time(cells)
    let alone = try timesOfOneHead(cells)
    if stop.isRaised { return nil }
    let single = recommendation

    let candidates = cells.compactMap { cell -> Contender? in
      guard let assessment = assessments[cell.spec], let errors = assessment.errors,
        let whole = assessment.candidate.time, let one = alone[cell.spec]?.time
      else { return nil }
      return Contender(
        strategy: cell.strategy, spec: cell.spec, whole: whole, alone: one,
        errors: errors.heads.map(\.upper))
    }
    guard !candidates.isEmpty else {
      throw NoPlanError(
        description: "no candidate could be measured"
          + reasons(order.compactMap { assessments[$0]?.candidate } + Array(alone.values)))
    }
    let mixes = try mixes(of: candidates)
    let best = single.choice.flatMap { assessments[$0]?.cell }
    return try duel(mixes, single: single, best: best, candidates: candidates)
  }

  /// A candidate that may be the cheapest on some head.
  private struct Contender {
    let strategy: any AttentionStrategy
    let spec: String
    /// On all heads.
    let whole: MeasuredTime
    /// On one head.
    let alone: MeasuredTime
    let errors: [Double]
  }

  /// The reasons of those that were not measured, for a sentence.
  private func reasons(_ candidates: [Candidate]) -> String {
    let missing = candidates.filter { $0.seconds == nil && !$0.reason.isEmpty }
    return missing.isEmpty
      ? ""
      : ": "
        + missing.map { "\($0.strategy) \($0.status.rawValue), \($0.reason)" }
        .joined(separator: "; ")
  }

  /// Times on the problem of one head, by strategy.
  private func timesOfOneHead(_ cells: [SweepCell]) throws -> [String: Candidate] {
    let problem = try question.problem.forHead(0)
    let alone = cells.map {
      SweepCell(
        problem: problem, n: $0.n, strategy: $0.strategy, placement: $0.placement, curve: 0)
    }
    let rows = Dictionary(try rows(of: alone).map { ($0.cellID, $0) }) { first, _ in first }
    return Dictionary(
      zip(cells, alone).compactMap { whole, one in
        rows[one.id].map { (whole.spec, Candidate($0)) }
      },
      uniquingKeysWith: { first, _ in first })
  }

  /// The mixes worth running: each head's cheapest by either measure of cost.
  private func mixes(of candidates: [Contender]) throws -> [(mix: MixedAttention, choice: [Int])] {
    let heads = question.problem.shape.heads
    var mixes: [(mix: MixedAttention, choice: [Int])] = []
    for time in [\Contender.alone, \Contender.whole] {
      let choice = HeadAssignment(
        heads: heads,
        options: candidates.map {
          HeadAssignment.Option(
            strategy: $0.spec, cost: $0[keyPath: time].seconds, spread: $0[keyPath: time].spread,
            isExact: $0.strategy.isExactInFloat32, errors: $0.errors)
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
    // All that is left to do is worth its time, whatever the search has left of the budget.
    for mix in mixes { try look(at: mix.mix, isRefusable: false) }
    executor.unload()
    let cells = mixes.map { cell($0.mix) }
    let rows = try rows(of: cells + [best].compactMap { $0 }, isFinal: true)
    if stop.isRaised { return nil }
    func row(of cell: SweepCell) -> ResultRow? { rows.first { $0.cellID == cell.id } }
    func seconds(_ cell: SweepCell) -> Double {
      row(of: cell).flatMap { $0.status.isMeasured ? $0.time.median : nil } ?? .infinity
    }
    guard
      let place = cells.indices.min(by: { seconds(cells[$0]) < seconds(cells[$1]) }),
      let mixRow = row(of: cells[place]), mixRow.status.isMeasured,
      let errors = assessments[cells[place].spec]?.errors
    else {
      let looks = cells.compactMap { assessments[$0.spec]?.candidate }
      throw NoPlanError(
        description: "the mix could not be measured"
          + reasons(looks + cells.compactMap { row(of: $0).map { Candidate($0) } }))
    }

    let mix = Candidate(mixRow, errors: errors)
    let beside = best.flatMap { cell in
      row(of: cell).map { Candidate($0, errors: assessments[cell.spec]?.errors) }
    }
    let choice = mixes[place].choice
    let total = choice.reduce(0) { $0 + candidates[$1].alone.seconds }
    let limit = question.requirements.maximumError ?? .infinity
    let heads = choice.enumerated().map { head, option in
      PerHeadRecommendation.Head(
        head: head, strategy: candidates[option].spec, relativeError: errors.heads[head].upper,
        secondsAlone: candidates[option].alone.seconds,
        timeShare: total > 0 ? candidates[option].alone.seconds / total : 0,
        isAdmissible: errors.heads[head].upper <= limit)
    }
    // One strategy is plainer than many, which therefore have to be faster beyond doubt.
    let isMixFaster =
      if let mix = mix.time, let one = beside?.time { mix.isClearlyFaster(than: one) } else { true }
    let isSingleBetter = single.verdict == .admissible && !isMixFaster
    let plan =
      isSingleBetter
      ? heads.map { _ in single.choice ?? "" } : heads.map(\.strategy)
    return PerHeadRecommendation(
      single: single, heads: heads, mix: mix, singleBeside: beside,
      misses: question.requirements.misses(of: mix), plan: plan)
  }
}
