import ArgumentParser
import Attention
import AttentionBench
import Foundation
import MachineTopology
import TextTable

/// `attnbench recommend`: measures what could be run and says what to run.
struct RecommendCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "recommend", abstract: "Measure the candidates for a problem and choose one.",
    discussion: """
      Every family of strategies is measured with several parameters; its error is the relative L2 \
      distance from full softmax attention on sampled rows. The choice is the fastest candidate \
      that meets the requirements, or the nearest miss.
      Example: attnbench recommend --n 32k --max-error 1e-2
      """)

  @Option(parsing: .unconditional, help: "Size, as 32k (default: all rows of --inputs).")
  var n: String?

  @Option(help: "Tensors q, k and v instead of random ones: FILE.safetensors[:PREFIX].")
  var inputs: String?

  @Option(
    parsing: .unconditional,
    help: "Largest relative L2 distance from full attention; none asks nothing.")
  var maxError = "1e-2"

  @Option(parsing: .unconditional, help: "Most memory for tensors and workspace, as 4GiB.")
  var maxMemory: String?

  @Option(parsing: .unconditional, help: "Longest time of one run, as 50ms.")
  var maxTime: String?

  @Option(
    name: .customLong("strategy"),
    help: "Measure these candidates only (default: all families, parameters searched).")
  var strategies: String?

  @OptionGroup(title: "Problem") var shapeOptions: ShapeOptions
  @OptionGroup(title: "Mask") var maskOptions: MaskOptions
  @OptionGroup(title: "Threads") var threadOptions: ThreadOptions

  @Option(parsing: .unconditional, help: "Most time to measure one candidate.")
  var cellTimeout = "60s"

  @Option(parsing: .unconditional, help: "Most time for everything.")
  var budget = "5m"

  @Option(parsing: .unconditional, help: "Seed of the inputs and of the checked rows.")
  var seed: UInt64 = 1

  @Flag(help: "Report the share of needles found too (see attnbench retrieve).")
  var retrieval = false

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup var blasOptions: BLASOptions

  mutating func run() throws {
    let stop = StopFlag()
    let signals = InterruptSignals(stop)
    defer { signals.restore() }
    let requirements = try requirements()
    let topology = try MachineTopology.host()
    let given = try inputs.map { try InputFiles.problem(inputs: $0, layout: .bhnd) }
    let size = try size(of: given)
    let problem = try maskOptions.problem(
      try given.map { try $0.shape(n: size) } ?? shapeOptions.shape(queryLength: size))
    let placement = try SweepPlacement(
      threads: try threadOptions.count(on: topology), binding: try threadOptions.binding(),
      topology: topology)
    let plan = SweepPlan(
      sizes: [size], strategies: try candidates(for: problem), placements: [placement],
      seed: seed
    ) { _ in problem }
    let limits = try limits()
    if retrieval { try RetrievalTask.check(problem) }
    blasOptions.announce()
    let start = ContinuousClock.now

    let executor = try AttentionExecutor(
      placements: [placement], inputs: given.map { .tensors($0) } ?? .normal(seed: seed),
      seed: seed, topology: topology, bestEffort: threadOptions.bestEffortBind)
    let store = ResultCollector()
    let printer = ProgressPrinter()
    let engine = SweepEngine(
      plan: plan, limits: limits,
      instruments: SweepEngine.Instruments(
        executor: executor, clock: MonotonicClock(), probe: HostProbe(cpus: topology.allowed),
        store: store),
      labels: RowLabels(
        runID: "recommend",
        build: ResultRow.Build(blasCore: BLASLibrary.core, isa: KernelTable.active.name)),
      stop: stop, emit: printer.show)
    let outcome = try engine.run()
    printer.finish()
    if outcome.wasInterrupted { throw CommandExit.interrupted }
    let plain = Recommendation(store.rows, requirements: requirements)
    let result = try addQuality(
      to: plain, of: plain.candidates, on: problem,
      inputs: given.map { .tensors($0) } ?? .normal(seed: seed), placement: placement,
      topology: topology, limits: limits, since: start, stop: stop)
    try report(result, problem, placement)
  }

  private func requirements() throws -> Requirements {
    var requirements = Requirements()
    if maxError != "none" {
      guard let error = Double(maxError), error.isFinite, error >= 0 else {
        throw PlanError(
          argument: "--max-error", value: maxError, rule: "this is no relative error",
          fix: "write for example 1e-2, or none")
      }
      requirements.maximumError = error
    }
    requirements.maximumMemoryBytes = try maxMemory.map {
      try ByteCount(parsing: $0, argument: "--max-memory").bytes
    }
    requirements.maximumSeconds = try maxTime.map {
      try TimeSpan(parsing: $0, argument: "--max-time").seconds
    }
    return requirements
  }

  private func size(of given: FileProblem?) throws -> Int {
    guard let n else {
      guard let given else {
        throw UsageError("--n: say the size, as --n 32k, or give tensors with --inputs")
      }
      return given.rows
    }
    return try SizeText.parse(n, argument: "--n")
  }

  private func candidates(for problem: AttentionProblem) throws -> [any AttentionStrategy] {
    do throws(AttentionError) {
      if let strategies { return try StrategyRegistry.standard.strategies(strategies) }
      return try StrategyRegistry.standard.candidates(for: problem)
    } catch {
      throw UsageError(strategy: error)
    }
  }

  /// A choice needs less exact medians than a curve.
  private func limits() throws(PlanError) -> SweepLimits {
    var limits = SweepLimits.host()
    limits.minimumSamples = 3
    limits.relativeInterval = 0.05
    limits.wording.relativeInterval = "5%"
    limits.cellTimeout = try TimeSpan(parsing: cellTimeout, argument: "--cell-timeout").seconds
    limits.wording.cellTimeout = cellTimeout
    limits.budget = try TimeSpan(parsing: budget, argument: "--budget").seconds
    limits.wording.budget = budget
    return limits
  }
}

extension RecommendCommand {
  private func report(
    _ result: Recommendation, _ problem: AttentionProblem, _ placement: SweepPlacement
  ) throws {
    if json {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      let document = RecommendationDocument(
        problem: problem, placement: placement, inputs: inputs ?? "normal, seed \(seed)",
        result: result)
      try Terminal.print(String(decoding: try encoder.encode(document), as: UTF8.self))
    } else {
      try print(result, problem)
    }
    if result.verdict == .none { throw CommandExit.failure }
  }

  private func print(_ result: Recommendation, _ problem: AttentionProblem) throws {
    let table = TextTable<Candidate> {
      [
        Column(title: "candidate", value: $0.strategy),
        Column(title: "class", value: $0.operatorClass),
        Column(
          title: "time", value: $0.seconds.map { TimeSpan.rounded(seconds: $0) } ?? "",
          align: .right),
        Column(title: "error", value: CellText.error($0.relativeError), align: .right),
      ] + QualityColumns.columns($0, of: result) + [
        Column(title: "memory", value: CellText.bytes($0.memoryBytes), align: .right),
        Column(title: "% of peak", value: CellText.decimal($0.percentOfPeak), align: .right),
        Column(
          title: "Pareto", value: result.paretoFront.contains($0.strategy) ? "*" : ""),
        Column(title: "", value: Self.remark($0, result)),
      ]
    }
    let text = table.string(for: result.candidates) ?? ""
    try Terminal.print(text.trimmingCharacters(in: .newlines))
    let rows = result.candidates.lazy.compactMap(\.rowsChecked).first ?? 0
    try Terminal.print(
      "error: relative L2 distance from full softmax attention on \(rows) sampled rows; "
        + "memory: tensors and workspace; *: no candidate is both faster and nearer")
    for line in QualityColumns.legend(of: result) { try Terminal.print(line) }
    for candidate in result.candidates where candidate.seconds == nil {
      try Terminal.print(
        "\(candidate.strategy) \(candidate.status.rawValue): \(candidate.reason)")
    }
    try Terminal.print("")
    try Terminal.print(Self.conclusion(result))
  }

  private static func remark(_ candidate: Candidate, _ result: Recommendation) -> String {
    guard candidate.seconds != nil else { return candidate.status.rawValue }
    if candidate.strategy == result.choice {
      return result.verdict == .admissible ? "<- choice" : "<- nearest miss"
    }
    return result.requirements.misses(of: candidate).map { "\($0)" }.joined(separator: ", ")
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
}

/// What `recommend --json` prints.
private struct RecommendationDocument: Encodable {
  let n: Int
  let nKV: Int
  let batch: Int
  let heads: Int
  let kvHeads: Int
  let headDim: Int
  let valueDim: Int
  let causal: Bool
  let threads: Int
  let bind: String
  let inputs: String
  let result: Recommendation

  init(
    problem: AttentionProblem, placement: SweepPlacement, inputs: String, result: Recommendation
  ) {
    let shape = problem.shape
    (n, nKV) = (shape.queryLength, shape.keyLength)
    (batch, heads, kvHeads) = (shape.batch, shape.heads, shape.kvHeads)
    (headDim, valueDim) = (shape.headDim, shape.valueDim)
    causal = problem.causal
    threads = placement.threads
    bind = "\(placement.binding)"
    self.inputs = inputs
    self.result = result
  }

  private enum CodingKeys: String, CodingKey {
    case n = "n_q"
    case nKV = "n_kv"
    case batch
    case heads
    case kvHeads = "kv_heads"
    case headDim = "head_dim"
    case valueDim = "value_dim"
    case causal
    case threads
    case bind
    case inputs
    case result
  }
}
