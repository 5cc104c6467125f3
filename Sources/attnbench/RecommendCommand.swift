import ArgumentParser
import Attention
import AttentionBench
import Foundation
import MachineTopology
import TensorFiles

/// `attnbench recommend`: measures what could be run and says what to run.
package struct RecommendCommand: BLASCommand {
  package static let configuration = CommandConfiguration(
    commandName: "recommend", abstract: "Measure the candidates for a problem and choose one.",
    discussion: """
      Every family of strategies is measured, its parameters searched; the error is the relative \
      L2 distance from full softmax attention. The choice is the fastest candidate that meets the \
      requirements, or the nearest miss; of candidates that cannot be told apart in time an exact \
      one, or the one that loses least. What takes long and by its predicted time cannot win is not \
      measured. With --per-head each query head gets its own, and the mix is run beside the best \
      single strategy. Errors on random tensors say nothing about a model's: give --inputs.
      A file with layer0.q, layer0.k, layer0.v, layer1.q, ... and no prefix given is a whole model: \
      every head of every layer gets the strategy with which attention takes the least time within \
      --max-total-error. Causality, scale and windows come from the file's metadata.
      Example: attnbench recommend --n 32k --max-error 1e-2
      Example: attnbench recommend --inputs qkv.safetensors:layer0 --per-head --save plan.json
      Example: attnbench recommend --inputs qkv.safetensors --max-total-error 0.3 --save plan.json
      Example: attnbench recommend --inputs qkv.safetensors --record choice.json
      """)

  @Option(parsing: .unconditional, help: "Size, as 32k (default: all rows of --inputs).")
  var n: String?

  @Option(
    help: """
      Tensors q, k and v instead of random ones: FILE.safetensors[:PREFIX]; all layers of a file of \
      several without a prefix.
      """,
    transform: PathOption.parse)
  var inputs: [String] = []

  @Option(
    parsing: .unconditional,
    help: "Largest relative L2 distance from full attention; none asks nothing (default: 1e-2).")
  var maxError: String?

  @OptionGroup(title: "Model") var modelLimit: ModelLimitOptions

  @Option(parsing: .unconditional, help: "Most memory for tensors and workspace, as 4GiB.")
  var maxMemory: String?

  @Option(parsing: .unconditional, help: "Longest time of one run, as 50ms.")
  var maxTime: String?

  @Option(
    name: .customLong("strategy"),
    help: "Measure these candidates only (default: all families, parameters searched).")
  var strategies: String?

  @Flag(help: "Choose for each query head; each keeps to --max-error.")
  var perHead = false

  @Option(
    help: "Write the choice of --per-head, or for a model, for attnbench run --plan.",
    transform: PathOption.parse)
  var save: String?

  @Option(
    help: "For a model: write everything measured, for attnbench plan and attnbench report.",
    transform: PathOption.parse)
  var record: String?

  @Option(
    help: "For a model: draw the trade-off and a map of layers and heads: FILE.svg.",
    transform: PathOption.parse)
  var plot: String?

  @Option(
    parsing: .unconditional,
    help: "Rows of each head that errors are measured on; all where that is affordable by default.",
    transform: Count.parse)
  var errorRows: Int?

  @OptionGroup(title: "Problem") var shapeOptions: ShapeOptions
  @OptionGroup(title: "Mask") var maskOptions: MaskOptions
  @OptionGroup(title: "Storage") var storageOptions: StorageOptions
  @OptionGroup(title: "Threads") var threadOptions: ThreadOptions

  @Option(parsing: .unconditional, help: "Most time to measure one candidate (default: 60s).")
  var cellTimeout: String?

  @Option(
    parsing: .unconditional,
    help: "Most time for everything; more looks at more (default: 60s, for a model 5m).")
  var budget: String?

  @Option(parsing: .unconditional, help: "Seed of the inputs and of the checked rows.")
  var seed: UInt64 = 1

  @Flag(help: "Report the share of needles found too (see attnbench retrieve).")
  var retrieval = false

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup var blasOptions: BLASOptions

  package init() {}

  package mutating func run() throws {
    let stop = StopFlag()
    let signals = InterruptSignals(stop)
    defer { signals.restore() }
    let inputs = try InputFiles.only(inputs)
    try Terminal.reserve(
      for: [("--save", save), ("--record", record), ("--plot", plot)], isJSON: json)
    try OutputTransaction.check(
      [
        NamedOutput("--save", save), NamedOutput("--record", record), NamedOutput("--plot", plot),
      ].compactMap { $0 },
      reading: [InputPaths.tensor(inputs), modelLimit.sensitivity].compactMap { $0 }
        + maskOptions.positions.inputPaths)
    if let inputs {
      try shapeOptions.refuse(beside: inputs)
      if let model = try ModelInputs.find(inputs) { return try choose(for: model, stop: stop) }
    }
    try refuseOptionsOfAModel()
    let requirements = try requirements()
    let errorRows = try rowsForErrors()
    if let save, !perHead {
      throw UsageError("--save \(save): a plan has a strategy for each head; add --per-head")
    }
    let topology = try MachineTopology.host()
    let given = try inputs.map {
      try InputFiles.problem(
        inputs: $0, layout: .bhnd,
        operands: CommandRegistry.current.families.flatMap(\.operands))
    }
    let size = try size(of: given)
    let shape = try given.map { try $0.shape(n: size) } ?? shapeOptions.shape(queryLength: size)
    let stated = try StatedAttention(maskOptions, inputs: inputs, on: shape)
    let problem = try stated.problem(on: shape, elements: storageOptions.elements)
    let placement = try threadOptions.placement(
      of: try threadOptions.count(on: topology), on: topology)
    let question = ChoiceEngine.Question(
      problem: problem, placement: placement, series: try series(for: problem),
      requirements: requirements, errorRows: errorRows, seed: seed)
    let limits = try limits()
    if retrieval { try RetrievalTask.check(problem) }
    _ = try measureBLAS()
    Terminal.say(
      "\(inputs ?? "random tensors, seed \(seed)"): \(problem.summary); \(stated.description); threads: "
        + "\(placement.threads) (\(placement.binding)); budget: \(limits.wording.budget)")
    stated.warn()
    let setting = QualitySetting(
      problem: problem, inputs: given.map { .tensors($0) } ?? .normal(seed: seed),
      placement: placement, topology: topology, limits: limits, start: .now, stop: stop)

    let executor = try AttentionExecutor(
      placements: [placement], inputs: setting.inputs, seed: seed, topology: topology,
      bestEffort: threadOptions.bestEffortBind,
      keepsTensors: true)
    let printer = ProgressPrinter()
    let report = RecommendReport(
      question: question, inputs: inputs ?? "normal, seed \(seed)", isRandom: given == nil,
      isJSON: json)
    let engine = ChoiceEngine(
      question, limits: limits,
      instruments: ChoiceEngine.Instruments(
        executor: executor, clock: MonotonicClock(), probe: HostProbe(cpus: topology.allowed)),
      labels: RowLabels(
        runID: "recommend",
        build: ResultRow.Build(blasCore: BLASLibrary.core, isa: KernelTable.active.name)),
      stop: stop
    ) { event in
      printer.show(event)
      if case .firstTable(let result) = event { report.showFirst(result) }
    }
    defer { printer.finish() }
    defer { if let account = engine.budgetAccount { Terminal.say("note: \(account)") } }
    if perHead {
      try choosePerHead(engine, report, setting)
    } else {
      let result = try engine.run()
      printer.finish()
      guard let result else { throw CommandExit.interrupted }
      let shown = result.candidates.filter { RecommendReport.isWorthALine($0, result) }
      try report.show(try addQuality(to: result, of: shown, in: setting))
    }
    let wrong = engine.recommendation.candidates.filter { $0.status == .wrong }.map(\.strategy)
    guard wrong.isEmpty else {
      throw CommandFailure(
        "wrong output of \(wrong.joined(separator: ", ")): attnbench verify looks closer")
    }
  }

  private func choosePerHead(
    _ engine: ChoiceEngine, _ report: RecommendReport, _ setting: QualitySetting
  ) throws {
    let result: PerHeadRecommendation?
    do {
      result = try engine.runPerHead()
    } catch let error as NoPlanError {
      // What was found out all the same; that it is nothing is said below.
      do { try report.show(engine.recommendation) } catch is ExitCode {}
      throw CommandFailure(
        (save.map { "--save \($0): no plan was saved: " } ?? "no choice for each head: ")
          + "\(error); a longer --budget or --cell-timeout gives more time")
    }
    guard let result else { throw CommandExit.interrupted }
    if let save {
      try HeadPlan(
        result, problem: setting.problem, placement: setting.placement, inputs: report.inputs,
        isa: KernelTable.active.name
      ).write(to: save)
    }
    try report.show(try addQuality(to: result, in: setting))
  }

  func rowsForErrors() throws -> ErrorRows {
    guard let errorRows else { return .automatic }
    guard errorRows >= 2 else {
      throw PlanError(
        argument: "--error-rows", value: "\(errorRows)",
        rule: "an error and its limit need at least 2 rows of each head",
        fix: "write for example 128, or leave it out")
    }
    return .perHead(errorRows)
  }

  private func requirements() throws -> Requirements {
    var requirements = Requirements(holdsForEachHead: perHead)
    let maxError = maxError ?? "1e-2"
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

  /// Strategies that the user names are a series each: all of them are looked at.
  func series(for problem: AttentionProblem) throws -> [[any AttentionStrategy]] {
    do throws(AttentionError) {
      if let strategies {
        return try CommandRegistry.current.strategies(strategies).map { [$0] }
      }
      return try CommandRegistry.current.candidateSeries(for: problem)
    } catch {
      throw UsageError(strategy: error)
    }
  }

  /// A choice needs less exact medians than a curve.
  func limits() throws(PlanError) -> SweepLimits {
    var limits = SweepLimits.host()
    limits.relativeInterval = 0.03
    limits.wording.relativeInterval = "3%"
    let (cellTimeout, budget) = (cellTimeout ?? "60s", budget ?? "60s")
    limits.cellTimeout = try TimeSpan(parsing: cellTimeout, argument: "--cell-timeout").seconds
    limits.wording.cellTimeout = cellTimeout
    limits.budget = try TimeSpan(parsing: budget, argument: "--budget").seconds
    limits.wording.budget = budget
    return limits
  }
}
