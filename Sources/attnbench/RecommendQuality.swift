import Attention
import AttentionBench
import MachineTopology
import TextTable

extension RecommendCommand {
  /// A recommendation with certified bounds, as far as what is left of the budget allows, and with
  /// needles where they were asked for.
  ///
  /// - Parameters:
  ///   - candidates: the ones to look at.
  ///   - start: when measuring began.
  func addQuality(
    to result: Recommendation, of candidates: [Candidate], on problem: AttentionProblem,
    inputs: SweepInputs, placement: SweepPlacement, topology: MachineTopology,
    limits: SweepLimits, since start: ContinuousClock.Instant, stop: StopFlag
  ) throws -> Recommendation {
    let team = try WorkerTeam(
      threads: placement.threads, binding: placement.binding, topology: topology,
      bestEffort: threadOptions.bestEffortBind)
    // Bounds are about what the strategies compute, in fp32, from the numbers as stored.
    var figures = try QualityFigures(
      problem.storing(ElementTypes()), candidates: candidates, team: team, memoryLimit: ByteCount(limits.memoryBytes),
      stop: stop)
    let spent = (ContinuousClock.now - start) / .seconds(1)
    do {
      try figures.certify(within: limits.budget.map { max($0 - spent, 0) } ?? .infinity) {
        try inputs.tensors(for: problem)
      }
    } catch let error as AttentionError {
      // The choice does not depend on it.
      Terminal.say("note: no certified bound: \(error)")
    }
    if retrieval { try figures.retrieve(seed: seed) }
    if stop.isRaised { throw CommandExit.interrupted }
    for note in figures.notes { Terminal.say("note: \(note)") }
    return result.adding(figures)
  }
}

/// Bounds and needles in the table of candidates, where there are any.
enum QualityColumns {
  /// The columns of a candidate.
  static func columns(_ candidate: Candidate, of result: Recommendation) -> [Column] {
    var columns: [Column] = []
    if hasBounds(result) {
      columns.append(
        Column(title: "bound", value: CellText.bound(candidate.certificate), align: .right))
    }
    if hasNeedles(result) {
      let found = candidate.foundShare.map { CellText.percent($0) } ?? ""
      columns.append(Column(title: "found", value: found, align: .right))
    }
    return columns
  }

  /// What they mean, a line each.
  static func legend(of result: Recommendation) -> [String] {
    var lines: [String] = []
    if hasBounds(result) {
      lines.append(
        "bound: the error over all rows is at most this, for certain; none: nothing can be said")
    }
    if hasNeedles(result) {
      lines.append(
        "found: share of planted needles found, over all distances (attnbench retrieve)")
    }
    return lines
  }

  private static func hasBounds(_ result: Recommendation) -> Bool {
    result.candidates.contains { $0.certificate != nil }
  }

  private static func hasNeedles(_ result: Recommendation) -> Bool {
    result.candidates.contains { $0.foundShare != nil }
  }
}
