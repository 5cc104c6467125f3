import Attention
import AttentionBench
import Foundation
import TextTable

/// What `attnbench recommend` prints.
struct RecommendReport {
  let question: ChoiceEngine.Question
  /// Where the tensors came from.
  let inputs: String
  let isJSON: Bool

  /// The choice of one strategy.
  ///
  /// - Throws: `CommandExit.failure` when nothing could be measured.
  func show(_ result: Recommendation) throws {
    if isJSON {
      try Terminal.print(json: RecommendationDocument(question, inputs: inputs, result: result))
    } else {
      try table(of: result)
      try Terminal.print("")
      try Terminal.print(Self.conclusion(result))
    }
    if result.verdict == .none { throw CommandExit.failure }
  }

  /// The choice of a strategy for each head.
  func show(_ result: PerHeadRecommendation) throws {
    if isJSON {
      return try Terminal.print(
        json: RecommendationDocument(question, inputs: inputs, perHead: result))
    }
    let groupSize = question.problem.shape.groupSize
    let hasBounds = result.heads.contains { $0.certificate != nil }
    let table = TextTable<PerHeadRecommendation.Head> {
      let columns = [
        Column(title: "head", value: $0.head, align: .right),
        Column(title: "kv head", value: $0.head / groupSize, align: .right),
        Column(title: "strategy", value: $0.strategy),
        Column(title: "error", value: CellText.error($0.relativeError), align: .right),
      ]
      let bound = Column(title: "bound", value: CellText.bound($0.certificate), align: .right)
      return columns + (hasBounds ? [bound] : []) + [
        Column(
          title: "time alone", value: TimeSpan.rounded(seconds: $0.secondsAlone), align: .right),
        Column(title: "share of time", value: CellText.percent($0.timeShare), align: .right),
        Column(title: "", value: $0.isAdmissible ? "" : "no candidate is within --max-error"),
      ]
    }
    try Terminal.print((table.string(for: result.heads) ?? "").trimmingCharacters(in: .newlines))
    try Terminal.print(
      "error: relative L2 distance from full softmax attention in the run of the mix, on "
        + Self.rows(result.mix) + "; time alone: the strategy on one head with all workers")
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
        Column(
          title: "time", value: $0.seconds.map { TimeSpan.rounded(seconds: $0) } ?? "",
          align: .right),
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
        + (isSampled ? "; at most: its one-sided 99% limit, which is what is asked for" : ""))
    try Terminal.print(
      "memory: tensors and workspace; *: no candidate is both faster and nearer; "
        + "~: a few runs in the search")
    for line in QualityColumns.legend(of: result, question.problem.storage) {
      try Terminal.print(line)
    }
    let hidden = result.candidates.count - shown.count
    if hidden > 0 {
      try Terminal.print("\(hidden) more were looked at and are behind the front (--json has all)")
    }
    for candidate in result.candidates where candidate.seconds == nil {
      try Terminal.print(
        "\(candidate.strategy) \(candidate.status.rawValue): \(candidate.reason)")
    }
  }

  /// What was timed to the end, what is on the front, what could not be run, and every class's
  /// best: a search looks at more than a person wants to read.
  static func isWorthALine(_ candidate: Candidate, _ result: Recommendation) -> Bool {
    candidate.seconds == nil || candidate.status != .lowSamples
      || candidate.strategy == result.choice || candidate.operatorClass != "restricted"
      || result.paretoFront.contains(candidate.strategy)
  }

  private static func rows(_ candidate: Candidate) -> String {
    guard let checked = candidate.rowsChecked else { return "no rows" }
    guard let all = candidate.rows, checked < all else { return "all \(checked) rows" }
    return "\(checked) of \(all) rows, sampled"
  }

  private static func remark(_ candidate: Candidate, _ result: Recommendation) -> String {
    guard candidate.seconds != nil else { return candidate.status.rawValue }
    if candidate.strategy == result.choice {
      return result.verdict == .admissible ? "<- choice" : "<- nearest miss"
    }
    let misses = result.requirements.misses(of: candidate).map { "\($0)" }
    return ((candidate.status == .lowSamples ? ["~"] : []) + misses).joined(separator: " ")
  }

  private static func conclusion(_ result: Recommendation) -> String {
    switch (result.verdict, result.choice) {
    case (.admissible, let choice?):
      let ties =
        result.equallyFast.isEmpty
        ? "" : "; not to be told apart in time: \(result.equallyFast.joined(separator: ", "))"
      return "run \(choice): the fastest that meets every requirement\(ties)"
    case (.nearestMiss, let choice?):
      let misses = result.misses.map { "\($0)" }.joined(separator: ", ")
      return "no candidate meets every requirement; the nearest miss is \(choice): \(misses)"
    default:
      return "no candidate could be measured"
    }
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
  let result: Recommendation?
  let perHead: PerHeadRecommendation?

  init(
    _ question: ChoiceEngine.Question, inputs: String, result: Recommendation? = nil,
    perHead: PerHeadRecommendation? = nil
  ) {
    problem = HeadPlan.Problem(question.problem)
    threads = question.placement.threads
    bind = "\(question.placement.binding)"
    self.inputs = inputs
    self.result = result
    self.perHead = perHead
  }

  private enum CodingKeys: String, CodingKey {
    case threads
    case bind
    case inputs
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
    try container.encodeIfPresent(result, forKey: .result)
    try container.encodeIfPresent(perHead, forKey: .perHead)
  }
}
