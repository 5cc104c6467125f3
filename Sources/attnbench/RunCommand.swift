import ArgumentParser
import Attention
import AttentionBench
import MachineTopology
import TensorFiles

/// `attnbench run`: attention on tensors from files, once.
package struct RunCommand: BLASCommand {
  package static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Compute attention on tensors from files.",
    discussion: """
      Tensors have shape [b, h, n, d] or [h, n, d]; the output has the rank of q. A .safetensors \
      file given to --inputs holds q, k and v, or PREFIX.q and so on; an output in that format \
      holds o, and lse, present_k, present_v, state and scores where they are asked for into the same \
      file. What a strategy takes beyond q, k and v (see attnbench list) is found there by its name, or \
      given with --operand, or with an option of its own such as --decay. Causality, scale, softcap, \
      sinks and windows that the file's metadata state are applied unless options say otherwise.
      Example: attnbench run --inputs qkv.safetensors:layer0 --strategy flash --causal -o out.npy
      Example: attnbench run --q q.npy --k k.npy --v v.npy --past-k pk.npy --past-v pv.npy --causal \
      --strategy flash --present-k pk.npy --present-v pv.npy -o out.npy
      """)

  @OptionGroup var inputs: InputOptions

  @Option(help: "The strategy, as flash or 'window(512, sinks: 4)'; see attnbench list.")
  var strategy: String?

  @Option(
    help: "A strategy for each head instead: PLAN.json of recommend --save.",
    transform: PathOption.parse)
  var plan: String?

  @OptionGroup var window: WindowOptions
  @OptionGroup var mask: MaskOptions
  @OptionGroup var keys: KeyOptions
  @OptionGroup var logits: LogitOptions
  @OptionGroup var outputs: OutputOptions
  @OptionGroup var threads: ThreadOptions
  @OptionGroup var blasOptions: BLASOptions

  package init() {}

  package mutating func run() throws {
    try outputs.check(reading: [plan].compactMap { $0 })
    let choice = try choice()
    let file = try inputs.read(for: choice)
    try outputs.check(file)
    let stated = try stated(on: file.shape)
    let (strategy, settings) = try choice.resolved(
      for: file, settings(for: file, stated), given: given)
    stated.announce(inputs.inputs.first)
    let topology = try MachineTopology.host()
    let team = try threads.team(of: threads.count(on: topology), on: topology)
    if strategy.usesBLAS || outputs.scoreStage != nil { try announceBLAS() }

    let result: AttentionRun
    let problem: AttentionProblem
    let scores: FileTensor?
    let files =
      try stated.files + keys.files(of: settings) + logits.files(beside: inputs.inputs.first)
    do {
      (result, problem) = try compute(strategy, settings, file, files, team)
      scores = try self.scores(strategy, settings, file, team)
    } catch let error as AttentionError {
      throw files.unserved(error) ?? stated.naming(error)
    }
    try outputs.write(result, scores: scores, of: file)

    for caution in choice.cautions(on: problem) { Terminal.say(caution) }
    let workers = team.threadCount == 1 ? "1 thread" : "\(team.threadCount) threads"
    Terminal.say(
      "\(strategy.explainedSpec(for: problem)) on \(problem.summary), \(workers): "
        + "\(TimeSpan.rounded(seconds: result.duration / .seconds(1))), wrote "
        + outputs.paths.joined(separator: ", "))
  }

  private func scores(
    _ strategy: any AttentionStrategy, _ settings: ProblemSettings, _ file: FileProblem,
    _ team: WorkerTeam
  ) throws -> FileTensor? {
    try outputs.scoreStage.map {
      try ScoreRun.compute($0, strategy, on: settings, of: file, team: team)
    }
  }

  /// What is to be run: the one or the other, and not both.
  private func choice() throws -> RunChoice {
    let window = try window.strategy()
    if let strategy, window != nil {
      throw UsageError(
        "--strategy \(strategy): a window is a strategy of its own; leave out --strategy, or write "
          + "--strategy 'window(left: 511, right: 0)'")
    }
    switch (strategy ?? window, plan) {
    case (let strategy?, nil): return .strategy(try StrategyOptions.strategy(strategy))
    case (nil, let plan?):
      return .plan(try RunChoice.Plan(path: plan, inputs: InputFiles.only(inputs.inputs)))
    case (nil, nil): throw UsageError("say what to run, with --strategy S or --plan PLAN.json")
    case (.some, let plan?):
      throw UsageError(
        "--plan \(plan): has a strategy for each head; leave out "
          + (window == nil ? "--strategy" : "--window-left and --window-right"))
    }
  }

  /// What the metadata of `--inputs` and the options state. A plan brings its own, and tensors that are
  /// named one by one have none.
  private func stated(on shape: AttentionShape) throws -> StatedAttention {
    try StatedAttention(
      mask, inputs: plan == nil ? inputs.inputs.first : nil, on: shape, logits: logits,
      window: window)
  }

  /// The same and everything else that the options say beyond the tensors' sizes.
  private func settings(
    for file: FileProblem, _ stated: StatedAttention
  ) throws -> ProblemSettings {
    var settings = stated.settings
    // Queries come behind the past, whatever follows them.
    if let past = file.pastLength, !mask.positions.isAligned {
      settings.visibility.offset = .fixed(past)
    }
    try keys.apply(to: &settings, file.shape)
    try logits.apply(to: &settings, file.shape, inputs: inputs.inputs.first)
    if let lengths = file.sequenceLengths {
      if let given = keys.givenLengths {
        throw UsageError("\(given): the lengths follow from --cu-seqlens; leave it out")
      }
      (settings.visibility.queryLengths, settings.visibility.keyLengths) = lengths
    }
    if file.pastLength != nil, let lengths = keys.keyLengths {
      throw UsageError("--kv-lengths \(lengths): the past has no padding; leave it out")
    }
    return settings
  }

  /// The options that a plan for each head has no room for.
  private var given: [String] {
    keys.given + logits.given + [outputs.scores.map { "--scores \($0)" }].compactMap { $0 }
  }

  /// Runs on the tensors as they are stored where the strategy can read them so, and converted to
  /// fp32 where it cannot.
  private func compute(
    _ strategy: any AttentionStrategy, _ settings: ProblemSettings, _ file: FileProblem,
    _ files: ArgumentFiles, _ team: WorkerTeam
  ) throws -> (AttentionRun, AttentionProblem) {
    func run(as elements: Storage) throws -> (AttentionRun, AttentionProblem) {
      var settings = settings
      settings.storage = elements
      let problem: AttentionProblem
      do throws(AttentionError) {
        problem = try settings.problem(on: file.shape)
      } catch {
        throw files.holding(error) ?? error
      }
      let result = try AttentionRun(
        strategy, on: problem, of: file, team: team, wantsLSE: outputs.lse != nil,
        wantsState: outputs.presentState != nil)
      return (result, problem)
    }
    var stored = file.storedElements
    // An output of another type than the queries is made of the fp32 sums: it is not to be rounded to
    // their type on the way.
    if outputs.elementType(queries: file.queryType) != file.queryType {
      stored = Storage(.float32, keyValue: stored.keyValue, output: .float32)
    }
    do {
      return try run(as: stored)
    } catch let error as AttentionError where error.argument == "elements" {
      return try run(as: Storage())
    }
  }
}
