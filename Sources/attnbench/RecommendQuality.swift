import Attention
import AttentionBench
import MachineTopology
import TextTable

/// What is looked at after a choice: on which problem, with which workers, for how long.
struct QualitySetting {
  let problem: AttentionProblem
  let inputs: SweepInputs
  let placement: SweepPlacement
  let topology: MachineTopology
  let limits: SweepLimits
  /// When measuring began.
  let start: ContinuousClock.Instant
  let stop: StopFlag
}

extension RecommendCommand {
  /// A recommendation with certified bounds, as far as what is left of the budget allows, and with
  /// needles where they were asked for.
  ///
  /// - Parameter candidates: the ones to look at.
  func addQuality(
    to result: Recommendation, of candidates: [Candidate], in setting: QualitySetting
  ) throws -> Recommendation {
    var figures = try figures(of: candidates, in: setting)
    try certify(in: setting) { seconds in
      try figures.certify(within: seconds) { try setting.inputs.tensors(for: setting.problem, $0) }
    }
    if retrieval { try figures.retrieve(seed: seed) }
    try conclude(figures, in: setting)
    return result.adding(figures)
  }

  /// The same for a choice for each head: bounds and recall head by head.
  func addQuality(
    to result: PerHeadRecommendation, in setting: QualitySetting
  ) throws -> PerHeadRecommendation {
    let recalls = try recalls(of: result, in: setting)
    var figures = try figures(of: result.single.candidates, in: setting)
    try certify(in: setting) { seconds in
      try figures.certify(heads: result.heads.map(\.strategy), within: seconds) {
        try setting.inputs.tensors(for: setting.problem, $0)
      }
    }
    try conclude(figures, in: setting)
    return result.adding(figures).adding(recalls)
  }

  /// What each head's strategy keeps of full attention; nil where it is not restricted.
  private func recalls(
    of result: PerHeadRecommendation, in setting: QualitySetting
  ) throws -> [Recall?] {
    let strategies = try result.heads.map { try CommandRegistry.current.strategy($0.strategy) }
    guard strategies.contains(where: { $0.operatorClass == .restricted }) else { return [] }
    return HeadRecalls.compute(
      strategies, on: try setting.problem.storing(Storage()),
      tensors: try setting.inputs.tensors(
        for: setting.problem, MixedAttention(strategies).operands),
      seed: seed, stop: setting.stop, team: try team(in: setting))
  }

  private func team(in setting: QualitySetting) throws -> WorkerTeam {
    try WorkerTeam(
      threads: setting.placement.threads, binding: setting.placement.binding,
      topology: setting.topology, bestEffort: threadOptions.bestEffortBind)
  }

  private func figures(
    of candidates: [Candidate], in setting: QualitySetting
  ) throws -> QualityFigures {
    let team = try team(in: setting)
    // Bounds are about what the strategies compute, in fp32, from the numbers as stored.
    return try QualityFigures(
      setting.problem.storing(Storage()), candidates: candidates,
      registry: CommandRegistry.current, team: team,
      memoryLimit: ByteCount(setting.limits.memoryBytes), stop: setting.stop)
  }

  /// Calls `body` with the seconds that are left of the budget. The choice does not depend on
  /// what it does.
  private func certify(in setting: QualitySetting, _ body: (Double) throws -> Void) throws {
    let spent = (ContinuousClock.now - setting.start) / .seconds(1)
    do {
      try body(setting.limits.budget.map { max($0 - spent, 0) } ?? .infinity)
    } catch let error as AttentionError {
      Terminal.say("note: no certified bound: \(error)")
    }
  }

  private func conclude(_ figures: QualityFigures, in setting: QualitySetting) throws {
    if setting.stop.isRaised { throw CommandExit.interrupted }
    for note in figures.notes { Terminal.say("note: \(note)") }
  }
}

/// Recall, bounds and needles in the table of candidates, where there are any.
enum QualityColumns {
  static func columns(_ candidate: Candidate, of result: Recommendation) -> [Column] {
    var columns: [Column] = []
    if hasRecall(result) {
      columns += recall(
        mass: candidate.massKept, topKeys: candidate.topKeysFound, gain: candidate.gainRealised)
    }
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

  /// What the keys that are kept hold; empty where there is nothing to say.
  static func recall(mass: Double?, topKeys: Double?, gain: Double?) -> [Column] {
    [("mass", mass), ("top keys", topKeys), ("gain", gain)].map { title, value in
      Column(title: title, value: value.map { CellText.percent($0) } ?? "", align: .right)
    }
  }

  /// What they mean.
  static let recallLegend =
    "mass: share of full attention's weights on the keys kept; top keys: share of the true top keys, "
    + "as many as are kept, that are kept; gain: of what topk gains over keys drawn by lot with as "
    + "many keys a row, the share that is realised; all on sampled rows"

  /// What a bound is, of tensors stored as `elements`.
  static func boundLegend(_ elements: Storage) -> String {
    let stored =
      elements.query == .float32
      ? "" : " (before the output is rounded to \(elements.query.rawValue))"
    return "bound: the error over all rows is at most this, for certain\(stored); "
      + "none: nothing can be said"
  }

  /// What they mean, a line each.
  static func legend(of result: Recommendation, _ elements: Storage) -> [String] {
    var lines: [String] = []
    if hasRecall(result) { lines.append(recallLegend) }
    if hasBounds(result) {
      lines.append(boundLegend(elements))
    }
    if hasNeedles(result) {
      lines.append(
        "found: share of planted needles found, over all distances (attnbench retrieve)")
    }
    return lines
  }

  private static func hasRecall(_ result: Recommendation) -> Bool {
    result.candidates.contains { $0.massKept != nil }
  }

  private static func hasBounds(_ result: Recommendation) -> Bool {
    result.candidates.contains { $0.certificate != nil }
  }

  private static func hasNeedles(_ result: Recommendation) -> Bool {
    result.candidates.contains { $0.foundShare != nil }
  }
}
