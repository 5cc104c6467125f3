import ArgumentParser
import Attention
import AttentionBench
import Foundation
import MachineTopology
import TensorFiles

/// `attnbench sweep`: times strategies over a range of sizes.
package struct SweepCommand: BLASCommand {
  package static let configuration = CommandConfiguration(
    commandName: "sweep", abstract: "Time strategies over a range of sizes.",
    discussion: """
      Writes results.csv (a row a cell), samples.csv (a row a sample), meta.json and plots. Every \
      finished cell is on disk at once; Ctrl-C keeps them and --resume goes on.
      With --decode the sizes are numbers of cached keys; every run then reads those that its strategy \
      sees, linear all: what its recurrent step costs does not depend on n. The same cache is read again and again: one \
      that fits a cache of the processor comes from there, and is held against the rate of that.
      Example: attnbench sweep --n 1k..16k --strategy 'full,flash,window(512)' -o out
      """)

  @Option(
    parsing: .unconditional,
    help: """
      Sizes: 1k..100k doubles, :linear=10 and :per-octave=2 change that; or 1k,5000 (default: 1k..100k, of \
      --inputs up to all its rows).
      """)
  var n: String?

  @Option(
    defaultAsFlag: "1",
    help: ArgumentHelp(
      "Time decoding: the sizes are numbers of keys, which ROWS queries read (1).",
      valueName: "rows"))
  var decode: String?

  @OptionGroup var strategyOptions: StrategyOptions
  @OptionGroup(title: "Problem") var shapeOptions: ShapeOptions
  @OptionGroup(title: "Mask") var maskOptions: MaskOptions
  @OptionGroup(title: "Storage") var storageOptions: StorageOptions

  @Option(
    help: """
      Tensors q, k and v instead of random ones: FILE.safetensors[:PREFIX], with the mask and the \
      scores that their metadata state unless options say otherwise.
      """,
    transform: PathOption.parse)
  var inputs: [String] = []

  @OptionGroup(title: "Threads") var threadOptions: ThreadOptions
  @OptionGroup(title: "Limits") var limitOptions: LimitOptions

  @Option(parsing: .unconditional, help: "Seed of the inputs, the order and the checked rows.")
  var seed: UInt64 = 1

  @Option(help: "Order of the cells in a round: random or serial.")
  var order = SweepLimits.Order.random

  @Option(
    name: [.customShort("o"), .long], help: "Directory for the results.",
    transform: PathOption.parse)
  var output: String?

  @Flag(help: "Go on with the results in the directory: finished cells are not run again.")
  var resume = false

  @Flag(help: "Resume even if machine, build or options differ.")
  var force = false

  @Flag(help: "Show the cells, predicted times and memory, and what would be skipped; run nothing.")
  var dryRun = false

  @OptionGroup var blasOptions: BLASOptions

  package init() {}

  package mutating func run() throws {
    let stop = StopFlag()
    let signals = InterruptSignals(stop)
    defer { signals.restore() }
    if let output {
      let derived =
        ScalingAnalysis.fileNames
        + PlotKind.allCases.flatMap { kind in
          ["gp", "svg", "png"].map { "\(kind.rawValue).\($0)" }
        }
      try OutputTransaction.refuse(
        RunDirectory.Layout(output).records + derived.map { "\(output)/\($0)" },
        reading: [InputPaths.tensor(inputs.first)].compactMap { $0 }
          + maskOptions.positions.inputPaths)
    }
    let setup = try setup()
    let blasSpeed = try measureBLAS()
    let executor = try AttentionExecutor(
      placements: setup.plan.placements, inputs: setup.inputs, seed: seed,
      topology: setup.topology, bestEffort: threadOptions.bestEffortBind)
    if dryRun { return try preview(setup, executor) }

    let directory = try RunDirectory(path: try directoryPath(), resuming: resume)
    var metadata = try metadata(of: setup, in: directory, blasSpeed)
    try directory.write(metadata)
    SweepReport.warn(of: setup.topology, try blas)
    SweepReport.header(setup, metadata, executor, directory).forEach(Terminal.say)
    let printer = ProgressPrinter()
    let engine = SweepEngine(
      plan: setup.plan, limits: setup.limits,
      instruments: SweepEngine.Instruments(
        executor: executor, clock: MonotonicClock(),
        probe: HostProbe(cpus: executor.cpus(allowed: setup.topology.allowed)), store: directory),
      labels: RowLabels(
        runID: metadata.runID,
        build: ResultRow.Build(blasCore: metadata.blas.core, isa: metadata.isaChosen)),
      earlierRows: directory.earlierRows, earlierSamples: directory.earlierSamples,
      secondsBefore: max(0, Date().timeIntervalSince(metadata.startedAt)), stop: stop,
      emit: printer.show)
    let outcome: SweepEngine.Outcome
    do {
      outcome = try engine.run()
      printer.finish()
    } catch {
      printer.finish()
      throw error
    }
    metadata.endedAt = Date()
    metadata.loadAfter = RunMetadata.loadAverages
    metadata.completed = !outcome.wasInterrupted
    metadata.ceilings = (metadata.ceilings ?? []) + outcome.ceilings
    try directory.write(metadata)
    signals.restore()
    let rows = directory.earlierRows + outcome.rows
    try SweepReport.conclude(rows: rows, plan: setup.plan, metadata, directory.layout)
    if outcome.wasInterrupted {
      Terminal.say("interrupted; --resume -o \(directory.layout.directory) goes on")
    }
    let wrong = SweepReport.latest(rows, setup.plan).filter { $0.status == .wrong }
    guard wrong.isEmpty else {
      throw CommandFailure(
        "wrong output of \(wrong.map(\.cellID).joined(separator: ", ")): their times are in no plot "
          + "and no fit; attnbench verify looks closer")
    }
    if outcome.wasInterrupted { throw CommandExit.interrupted }
  }
}

extension SweepLimits.Order: ExpressibleByArgument {}

extension SweepCommand {
  /// Everything that follows from the options and the machine.
  struct Setup {
    let topology: MachineTopology
    let plan: SweepPlan
    let limits: SweepLimits
    let inputs: SweepInputs
    /// Query rows of a decoding step, where the sizes are numbers of keys.
    let decoding: Int?
    let options: [String: String]
  }

  private func setup() throws -> Setup {
    let topology = try MachineTopology.host()
    let asked = try n.map { try SizeList(parsing: $0).sizes }
    let decoding = try decode.map(decodedRows)
    var strategies = try strategyOptions.strategies(byDefault: \.isSweptByDefault)
    let placements = try threadOptions.counts(on: topology).map { threads in
      try threadOptions.placement(of: threads, on: topology)
    }
    var limits = try limitOptions.limits(
      available: MachineMemory.current()?.availableBytes ?? .max)
    limits.order = order
    let inputs = try InputFiles.only(inputs)
    let given = try inputs.map {
      try shapeOptions.refuse(beside: $0)
      return try InputFiles.problem(
        inputs: $0, layout: .bhnd, operands: strategies.flatMap(\.operands))
    }
    if let given, !strategyOptions.isNamed {
      let lacking = strategies.filter { !given.has($0.operands) }
      if !lacking.isEmpty {
        Terminal.say(
          "left out, since --inputs has no operands for them: "
            + lacking.map(\.name).joined(separator: ", "))
        strategies = strategies.filter { given.has($0.operands) }
      }
    }
    let stated = try given.map { try StatedAttention(maskOptions, inputs: inputs, on: $0.shape) }
    if stated?.settings.visibility.causal ?? maskOptions.causal, strategyOptions.list == nil {
      let acausal = strategies.filter { !$0.servesCausalMasks }
      if !acausal.isEmpty {
        Terminal.say(
          "left out, since they have no causal form: "
            + acausal.map(\.name).joined(separator: ", "))
      }
      strategies = strategies.filter(\.servesCausalMasks)
    }
    stated?.announce(inputs)
    let sizes =
      try asked ?? given.map { try $0.usualSizes(isDecoding: decoding != nil) }
      ?? SizeList.usual.sizes
    let elements = storageOptions.elements
    let plan = try SweepPlan(
      sizes: sizes, strategies: strategies, placements: placements, seed: seed
    ) { n in
      if let given, let stated {
        return try stated.problem(
          on: given.shape(n: n, queries: decoding), elements: elements)
      }
      return try maskOptions.problem(
        shapeOptions.shape(queryLength: decoding ?? n, keyLength: decoding.map { _ in n }),
        elements: elements)
    }
    return Setup(
      topology: topology, plan: plan, limits: limits,
      inputs: given.map { .tensors($0) } ?? .normal(seed: seed), decoding: decoding,
      options: options(plan, limits, decoding, stated))
  }

  /// Taken as text, since the argument parser drops an attached value that it cannot read.
  private func decodedRows(_ text: String) throws(UsageError) -> Int {
    do {
      let rows = try CountText.parse(text)
      if 1...AttentionShape.maximumLength ~= rows { return rows }
    } catch {
      throw UsageError("--decode \(text): \(error.rule); \(error.fix)")
    }
    throw UsageError("--decode \(text): rows of a decoding step; give 1 or a few")
  }

  /// The options with their defaults, in the command line's own spelling.
  private func options(
    _ plan: SweepPlan, _ limits: SweepLimits, _ decoding: Int?, _ stated: StatedAttention?
  ) -> [String: String] {
    let shape = plan.cells.first?.problem.shape
    let settings = stated?.settings
    let strategies =
      strategyOptions.list
      ?? CommandRegistry.current.families.filter(\.isSweptByDefault).map(\.name)
      .joined(separator: ",")
    var options = [
      "--n": plan.sizes.map(String.init).joined(separator: ","), "--strategy": strategies,
      "--threads": plan.placements.map { "\($0.threads)" }.joined(separator: ","),
      "--bind": plan.placements.last.map { "\($0.binding)" } ?? "none", "--seed": "\(seed)",
      "--min-samples": "\(limits.minimumSamples)",
      "--rel-ci": String(format: "%g%%", 100 * limits.relativeInterval),
      "--cell-timeout": String(format: "%gs", limits.cellTimeout),
      "--budget": limits.budget.map { String(format: "%gs", $0) } ?? "none",
      "--max-memory": limits.wording.memory, "--order": order.rawValue,
      "--causal": "\(settings?.visibility.causal ?? maskOptions.causal)",
    ]
    if let shape {
      options["--batch"] = "\(shape.batch)"
      options["--heads"] = "\(shape.heads)"
      options["--kv-heads"] = "\(shape.kvHeads)"
      options["--head-dim"] = "\(shape.headDim)"
      options["--value-dim"] = "\(shape.valueDim)"
    }
    options["--n-kv"] = shapeOptions.keyLength
    options["--decode"] = decoding.map { "\($0)" }
    options["--align"] = maskOptions.align?.rawValue
    options["--query-offset"] = maskOptions.queryOffset
    options["--scale"] = (settings?.scoring.scale ?? maskOptions.scale).map { "\($0)" }
    if storageOptions.dtype != .float32 { options["--dtype"] = storageOptions.dtype.rawValue }
    options["--inputs"] = inputs.first
    // Softcap, sinks and windows, which no option of a sweep says.
    if let stated, stated.isFromFile { options["attention of --inputs"] = stated.description }
    return options
  }

  private func directoryPath() throws(UsageError) -> String {
    if let output { return output }
    if resume { throw UsageError("--resume: say which results with -o DIR") }
    let style = Date.ISO8601FormatStyle(
      dateSeparator: .omitted, timeSeparator: .omitted, timeZone: .current)
    let stamp = Date().formatted(style.year().month().day().time(includingFractionalSeconds: false))
    return "attnbench-\(stamp)"
  }

  /// The run's description: a new one, or the earlier one when its run goes on.
  private func metadata(
    of setup: Setup, in directory: RunDirectory, _ blasSpeed: BLASSpeed
  ) throws -> RunMetadata {
    var metadata = RunMetadata.host(
      argv: CommandLine.arguments, options: setup.options, seed: seed, topology: setup.topology,
      blas: .current(note: try blas.summary, speed: blasSpeed))
    metadata.inputs = try inputs.first.map { try InputFiles.identity(inputs: $0) }
    guard resume, !directory.earlierRows.isEmpty else { return metadata }
    for note in directory.notes { Terminal.say("note: \(note)") }
    let earlier = try RunDirectory.readMetadata(in: directory.layout.directory)
    let differences = metadata.differences(from: earlier)
    guard differences.isEmpty || force else {
      throw CommandFailure(
        "\(directory.layout.directory) cannot be resumed: \(differences.joined(separator: "; ")); "
          + "--force mixes the results all the same, another -o keeps them apart")
    }
    for difference in differences { Terminal.say("warning: resumed although \(difference)") }
    metadata.runID = earlier.runID
    metadata.startedAt = earlier.startedAt
    metadata.loadBefore = earlier.loadBefore
    metadata.ceilings = earlier.ceilings
    return metadata
  }

  private func preview(_ setup: Setup, _ executor: AttentionExecutor) throws {
    var forecast = SweepForecast()
    for placement in setup.plan.placements {
      for arithmetic in setup.plan.arithmetics {
        let bursts = try (0..<3).map { _ in
          try executor.flopRate(on: placement, in: arithmetic)
        }
        if let rate = SampleSummary(bursts)?.median {
          forecast.learn(flopRate: rate, threads: placement.threads, arithmetic: arithmetic)
        }
      }
      if let rate = try executor.readRate(on: placement) {
        forecast.learn(byteRate: rate, threads: placement.threads)
      }
    }
    let earlier = try resume ? output.map { try RunDirectory.readResults(in: $0).rows } : nil
    try SweepReport.print(
      SweepPreview(
        plan: setup.plan, limits: setup.limits, forecast: forecast, earlierRows: earlier ?? []))
  }
}
