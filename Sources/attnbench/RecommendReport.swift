import Attention
import AttentionBench
import Foundation
import TextTable

/// What `attnbench recommend` prints.
struct RecommendReport {
  let question: ChoiceEngine.Question
  /// Where the tensors came from.
  let inputs: String
  /// Whether those are random numbers, whose errors say nothing about a model's.
  let isRandom: Bool
  let isJSON: Bool

  /// What is known before the measurements that take long, on standard error.
  func showFirst(_ result: Recommendation) {
    let shown = result.candidates.filter { $0.seconds != nil || $0.predictedSeconds != nil }
    let table = TextTable<Candidate> {
      [
        Column(title: "candidate", value: $0.strategy),
        Column(title: "class", value: $0.operatorClass),
        Column(title: "time", value: Self.time($0), align: .right),
        Column(title: "error", value: CellText.error($0.relativeError), align: .right),
      ]
    }
    Terminal.say(
      "so far (~: predicted from the time at a smaller size, by the ratio of flops"
        + (shown.contains { $0.reason == Candidate.unchecked }
          ? "; without an error: \(Candidate.unchecked)" : "") + "):")
    Terminal.say((table.string(for: shown) ?? "").trimmingCharacters(in: .newlines))
    if isRandom { Terminal.say(Self.randomErrors) }
    Terminal.say("measuring on, until --budget at the latest")
  }

  private static let randomErrors =
    "the tensors are random: there every key matters alike, and the errors say nothing about a "
    + "model's; give yours with --inputs"

  private static func time(_ candidate: Candidate) -> String {
    if let seconds = candidate.seconds { return TimeSpan.rounded(seconds: seconds) }
    return candidate.predictedSeconds.map { "~ \(TimeSpan.rounded(seconds: $0))" } ?? ""
  }

  /// The choice of one strategy.
  ///
  /// - Throws: `CommandExit.failure` when nothing could be measured.
  func show(_ result: Recommendation) throws {
    if isJSON {
      try Terminal.print(json: RecommendationDocument(self, result: result))
    } else {
      try table(of: result)
      try Terminal.print("")
      try Terminal.print(conclusion(result))
    }
    if result.verdict == .none { throw CommandExit.failure }
  }

  /// The choice of a strategy for each head.
  func show(_ result: PerHeadRecommendation) throws {
    if isJSON {
      return try Terminal.print(
        json: RecommendationDocument(self, perHead: result))
    }
    let groupSize = question.problem.shape.groupSize
    let hasBounds = result.heads.contains { $0.certificate != nil }
    let hasRecall = result.heads.contains { $0.massKept != nil }
    let table = TextTable<PerHeadRecommendation.Head> {
      var columns = [
        Column(title: "head", value: $0.head, align: .right),
        Column(title: "kv head", value: $0.head / groupSize, align: .right),
        Column(title: "strategy", value: $0.strategy),
        Column(title: "error", value: CellText.error($0.relativeError), align: .right),
      ]
      if hasRecall {
        columns += QualityColumns.recall(
          mass: $0.massKept, topKeys: $0.topKeysFound, gain: $0.gainRealised)
      }
      if hasBounds {
        columns.append(
          Column(title: "bound", value: CellText.bound($0.certificate), align: .right))
      }
      return columns + [
        Column(
          title: "time alone", value: TimeSpan.rounded(seconds: $0.secondsAlone), align: .right),
        Column(title: "share of time", value: CellText.percent($0.timeShare), align: .right),
        Column(title: "", value: $0.isAdmissible ? "" : "no candidate is within --max-error"),
      ]
    }
    try Terminal.print((table.string(for: result.heads) ?? "").trimmingCharacters(in: .newlines))
    try Terminal.print(
      "error: relative L2 distance from full softmax attention in the run of the mix, on "
        + Self.rows(result.mix) + "; time alone: the strategy on one head with all workers"
        + (isRandom ? "; \(Self.randomErrors)" : ""))
    if hasRecall { try Terminal.print(QualityColumns.recallLegend) }
    if hasBounds {
      try Terminal.print(QualityColumns.boundLegend(question.problem.storage))
    }
    try Terminal.print("")
    for line in Self.duel(result) { try Terminal.print(line) }
  }

  private func table(of result: Recommendation) throws {
    let shown = result.candidates.filter { Self.isWorthALine($0, result) }
    let isSampled = shown.contains { $0.relativeErrorUpper ?? 0 > $0.relativeError ?? 0 }
    let table = TextTable<Candidate> {
      var columns = [
        Column(title: "candidate", value: $0.strategy),
        Column(title: "class", value: $0.operatorClass),
        Column(title: "time", value: Self.time($0), align: .right),
        Column(title: "error", value: CellText.error($0.relativeError), align: .right),
      ]
      if isSampled {
        columns.append(
          Column(title: "at most", value: CellText.error($0.relativeErrorUpper), align: .right))
      }
      return columns + QualityColumns.columns($0, of: result) + [
        Column(title: "memory", value: CellText.bytes($0.memoryBytes), align: .right),
        Column(title: "% of peak", value: CellText.decimal($0.percentOfPeak), align: .right),
        Column(
          title: "Pareto", value: result.paretoFront.contains($0.strategy) ? "*" : ""),
        Column(title: "", value: Self.remark($0, result)),
      ]
    }
    try Terminal.print((table.string(for: shown) ?? "").trimmingCharacters(in: .newlines))
    let rows = result.candidates.first { $0.rowsChecked != nil }.map(Self.rows) ?? "no rows"
    try Terminal.print(
      "error: relative L2 distance from full softmax attention on \(rows)"
        + (isSampled ? "; at most: its one-sided 99% limit, which is what is asked for" : "")
        + (isRandom ? "; \(Self.randomErrors)" : ""))
    try Terminal.print(
      "memory: tensors and workspace; *: no candidate is both faster and nearer; "
        + "~: a few runs in the search")
    for line in QualityColumns.legend(of: result, question.problem.storage) {
      try Terminal.print(line)
    }
    let hidden = result.candidates.count { $0.seconds != nil } - shown.count { $0.seconds != nil }
    if hidden > 0 {
      try Terminal.print("\(hidden) more were looked at and are behind the front (--json has all)")
    }
    let passed = result.candidates.filter { $0.seconds == nil && $0.predictedSeconds != nil }
    if !passed.isEmpty {
      try Terminal.print(
        "not measured, since by their predicted times they cannot win: "
          + passed.map { "\($0.strategy) \(Self.time($0))" }.joined(separator: ", "))
    }
    for candidate in result.candidates
    where candidate.seconds == nil && candidate.predictedSeconds == nil {
      try Terminal.print(
        "\(candidate.strategy) \(candidate.status.rawValue): \(candidate.reason)")
    }
  }

  /// What was timed to the end, what is on the front, what could not be run, and every class's
  /// best: a search looks at more than a person wants to read.
  static func isWorthALine(_ candidate: Candidate, _ result: Recommendation) -> Bool {
    (candidate.seconds == nil && candidate.predictedSeconds == nil)
      || (candidate.seconds != nil && candidate.status != .lowSamples)
      || candidate.strategy == result.choice || candidate.operatorClass != "restricted"
      || result.paretoFront.contains(candidate.strategy)
  }

  private static func rows(_ candidate: Candidate) -> String {
    guard let checked = candidate.rowsChecked else { return "no rows" }
    let undefined = candidate.rowsUndefined ?? 0
    let rest =
      undefined == 0
      ? "" : " (on \(undefined) more that is not finite, and there is no distance)"
    guard let all = candidate.rows, checked < all else { return "all \(checked) rows\(rest)" }
    return "\(checked) of \(all) rows, sampled\(rest)"
  }

  private static func remark(_ candidate: Candidate, _ result: Recommendation) -> String {
    guard candidate.seconds != nil else {
      return candidate.predictedSeconds == nil ? candidate.status.rawValue : "cannot win"
    }
    if candidate.strategy == result.choice {
      return result.verdict == .admissible ? "<- choice" : "<- nearest miss"
    }
    let misses = result.requirements.misses(of: candidate).map { "\($0)" }
    return ((candidate.status == .lowSamples ? ["~"] : []) + misses).joined(separator: " ")
  }

  private func conclusion(_ result: Recommendation) -> String {
    switch (result.verdict, result.choice) {
    case (.admissible, let choice?):
      let ties =
        result.equallyFast.isEmpty
        ? ""
        : "; not to be told apart from it in time, but not exact or losing more: "
          + result.equallyFast.joined(separator: ", ")
      return "run \(choice): the fastest that meets every requirement\(ties)" + onRandom(result)
    case (.nearestMiss, let choice?):
      let misses = result.misses.map { "\($0)" }.joined(separator: ", ")
      return "no candidate meets every requirement; the nearest miss is \(choice): \(misses)"
        + onRandom(result)
    default:
      return "no candidate could be measured"
    }
  }

  /// What to know of a limit that was held against errors on random tensors.
  private func onRandom(_ result: Recommendation) -> String {
    guard isRandom, let limit = result.requirements.maximumError else { return "" }
    return
      "\nnote: --max-error \(String(format: "%g", limit)) was held against random tensors; on a "
      + "model's (--inputs) what is restricted or different may keep to it"
  }

  /// The mix beside the best single strategy.
  private static func duel(_ result: PerHeadRecommendation) -> [String] {
    func line(_ name: String, _ candidate: Candidate) -> String {
      let time = candidate.seconds.map { TimeSpan.rounded(seconds: $0) } ?? "not measured"
      let worst = candidate.headErrorsUpper?.max()
      return "\(name): \(time), error \(CellText.error(candidate.relativeErrorUpper)) over all "
        + "heads and at most \(CellText.error(worst)) on one, memory "
        + CellText.bytes(candidate.memoryBytes)
    }
    var lines = [line("the mix", result.mix)]
    if let single = result.singleBeside {
      lines.append(line("\(single.strategy) for all heads", single))
    }
    lines += result.misses.map { "the mix misses: \($0)" }
    if let speedup = result.speedup {
      let factor = String(format: "%.2f", speedup)
      lines.append(
        result.usesMix
          ? "run the mix: \(factor) times as fast as the best single strategy"
          : "run \(result.plan.first ?? "") for all heads: the mix is \(factor) times as fast")
    }
    return lines
  }
}

/// What `recommend --json` prints.
private struct RecommendationDocument: Encodable {
  let problem: HeadPlan.Problem
  let threads: Int
  let bind: String
  let inputs: String
  let errorsAreOfRandomTensors: Bool
  let result: Recommendation?
  let perHead: PerHeadRecommendation?

  init(
    _ report: RecommendReport, result: Recommendation? = nil,
    perHead: PerHeadRecommendation? = nil
  ) {
    let question = report.question
    problem = HeadPlan.Problem(question.problem)
    threads = question.placement.threads
    bind = "\(question.placement.binding)"
    inputs = report.inputs
    errorsAreOfRandomTensors = report.isRandom
    self.result = result
    self.perHead = perHead
  }

  private enum CodingKeys: String, CodingKey {
    case threads
    case bind
    case inputs
    case errorsAreOfRandomTensors = "errors_are_of_random_tensors"
    case result
    case perHead = "per_head"
  }

  /// The problem's fields stand beside the others, as they always did.
  func encode(to encoder: any Encoder) throws {
    try problem.encode(to: encoder)
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(threads, forKey: .threads)
    try container.encode(bind, forKey: .bind)
    try container.encode(inputs, forKey: .inputs)
    try container.encode(errorsAreOfRandomTensors, forKey: .errorsAreOfRandomTensors)
    try container.encodeIfPresent(result, forKey: .result)
    try container.encodeIfPresent(perHead, forKey: .perHead)
  }
}
