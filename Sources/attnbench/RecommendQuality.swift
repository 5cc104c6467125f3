import Attention
import AttentionBench
import MachineTopology
import TextTable

/// Certified bounds and needles beside the candidates of `attnbench recommend`.
extension RecommendCommand {
  /// Bounds within what is left of the budget, and needles where they were asked for.
  ///
  /// - Parameters:
  ///   - rows: what the plan's sweep measured.
  ///   - start: when the sweep began.
  func qualityFigures(
    of rows: [ResultRow], _ plan: SweepPlan, inputs: SweepInputs, limits: SweepLimits,
    since start: ContinuousClock.Instant, topology: MachineTopology, stop: StopFlag
  ) throws -> QualityFigures? {
    guard let first = plan.cells.first else { return nil }
    let team = try WorkerTeam(
      threads: first.placement.threads, binding: first.placement.binding, topology: topology,
      bestEffort: threadOptions.bestEffortBind)
    var figures = QualityFigures(
      first.problem, strategies: plan.cells.map(\.strategy), candidates: rows.map { Candidate($0) },
      team: team,
      memoryLimit: ByteCount(limits.memoryBytes), stop: stop)
    let spent = (ContinuousClock.now - start) / .seconds(1)
    do {
      try figures.certify(within: limits.budget.map { max($0 - spent, 0) } ?? .infinity) {
        try inputs.tensors(for: first.problem)
      }
    } catch let error as AttentionError {
      // The choice does not depend on it.
      Terminal.say("note: no certified bound: \(error)")
    }
    if retrieval { try figures.retrieve(seed: seed) }
    if stop.isRaised { throw CommandExit.interrupted }
    for note in figures.notes { Terminal.say("note: \(note)") }
    return figures
  }

  /// The columns of bounds, and of needles where they were asked for.
  func qualityColumns(_ candidate: Candidate) -> [Column] {
    let bound = Column(
      title: "bound", value: CellText.bound(candidate.certificate), align: .right)
    guard retrieval else { return [bound] }
    let found = candidate.foundShare.map { CellText.percent($0) } ?? ""
    return [bound, Column(title: "found", value: found, align: .right)]
  }

  /// What the columns of bounds and needles mean.
  func printQualityLegend(_ result: Recommendation) throws {
    if result.candidates.contains(where: { $0.certificate != nil }) {
      try Terminal.print(
        "bound: the error over all rows is at most this, for certain; none: nothing can be said")
    }
    if retrieval {
      try Terminal.print(
        "found: share of planted needles found, over all distances (attnbench retrieve)")
    }
  }
}
