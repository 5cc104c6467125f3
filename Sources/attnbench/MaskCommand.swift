import ArgumentParser
import Attention
import AttentionBench
import TensorFiles

/// `attnbench mask`: who sees whom, and where a head's attention lies.
struct MaskCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mask",
    abstract: "Draw which keys each query sees, or what heads really attend to.",
    discussion: """
      Queries run downwards, keys to the right. What does not fit is drawn in blocks. With --inputs, \
      the softmax attention of every head and what each strategy keeps of it; --head draws one large.
      With --plan, what each head's own strategy sees or keeps.
      Example: attnbench mask --strategy 'window(8, sinks: 2)' -n 64 --causal -o mask.svg
      Example: attnbench mask --plan plan.json --layer 3 -o heads.svg
      Example: attnbench mask --inputs qkv.safetensors:layer3 --head 2 --strategy 'window(64)' -o a.svg
      """)

  @Option(help: "The strategy, as 'window(8)'; with --inputs a list. See attnbench list.")
  var strategy: String?

  @Option(
    help: "A strategy for each head, as recommend --save writes it: all heads, small.",
    transform: PathOption.parse)
  var plan: String?

  @Option(
    parsing: .unconditional,
    help: "The layer of a --plan for a model (default: that of the prefix of --inputs).")
  var layer: String?

  @Option(
    name: [.customShort("n"), .long], parsing: .unconditional,
    help: "Queries, as 64 or 1k; with --inputs only the first N queries and keys are drawn.")
  var n: String?

  @Option(
    name: .customLong("n-kv"), parsing: .unconditional,
    help: "Keys (default: as many as queries).")
  var keyLength: String?

  @Option(
    help: "Draw the attention of these tensors: FILE.safetensors or FILE.safetensors:PREFIX.",
    transform: PathOption.parse)
  var inputs: [String] = []

  @Option(
    parsing: .unconditional,
    help: "With --inputs or --plan: the query head, from 0 (default: all, small).")
  var head: Int?

  @Option(parsing: .unconditional, help: "With --inputs: the sequence, from 0 (default: 0).")
  var batch: Int?

  @Option(help: "With --inputs: order of the axes, bhnd (default) or bnhd.")
  var layout: TensorLayout?

  @OptionGroup var mask: MaskOptions

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: "Write a picture: .svg, with --inputs also .png.",
    transform: PathOption.parse)
  var output: String?

  /// Cells of a picture's longer side: more than a screen resolves would only make it large.
  private static let pictureCells = 512

  /// The same of each head of a plan.
  private static let headCells = 56
  /// Columns of a head's drawing among those of all heads on a terminal: four side by side on 80.
  static let headColumns = 18

  mutating func run() throws {
    if let layer, plan == nil {
      throw UsageError("--layer \(layer): says which layer of --plan FILE; give the plan")
    }
    if strategy == nil, plan == nil {
      throw UsageError("give --strategy, as 'window(8)', or --plan FILE (attnbench list)")
    }
    let inputs = try InputFiles.only(inputs)
    try OutputTransaction.check(
      [output].compactMap { $0 },
      reading: [plan, InputPaths.tensor(inputs)].compactMap { $0 } + mask.positions.inputPaths)
    if let inputs {
      try AttentionMapDrawing(self, inputs: inputs).run()
    } else if let plan {
      try drawPlan(MaskPlan(path: plan, layer: layer, inputs: nil))
    } else {
      try drawPattern(try StrategyOptions.strategy(strategy ?? ""))
    }
  }

  /// What each head of a plan sees, or one of them.
  private func drawPlan(_ plan: MaskPlan) throws {
    if let strategy {
      throw UsageError(
        "--strategy \(strategy): --plan \(plan.path) has a strategy for each head; give one of them"
      )
    }
    let given = [
      keyLength.map { "--n-kv \($0)" }, mask.causality.map { $0 ? "--causal" : "--no-causal" },
      mask.align.map { "--align \($0.rawValue)" }, mask.queryOffset.map { "--query-offset \($0)" },
    ].compactMap { $0 }
    if let first = given.first {
      throw UsageError("\(first): --plan \(plan.path) says the mask; leave it out")
    }
    try refuseTensorOptions(allowsHead: true)
    let problem = try plan.problem(n: n.map { try SizeText.parse($0, argument: "-n") })
    if let head {
      guard plan.strategies.indices.contains(head) else {
        throw UsageError("--head \(head): there are 0 to \(plan.strategies.count - 1)")
      }
      return try draw(
        plan.strategies[head], on: problem, source: "\(plan.name), head \(head): ")
    }
    let print = try Terminal.printer(beside: output)
    func masks(rows: Int, columns: Int) -> HeadMasks {
      HeadMasks(plan.strategies, on: problem, maximumRows: rows, maximumColumns: columns)
    }
    let title = "\(plan.name), \(problem.positionSummary)"
    let columns = min(Self.headColumns, Terminal.columns)
    let drawn = masks(rows: max(1, columns / 2), columns: columns)
    try drawn.text(columns: Terminal.columns).forEach(print)
    try print("\(title): \(drawn.summary)")
    if plan.strategies.contains(where: \.selectsKeys) {
      try print(
        "where keys are selected: what there is to select from; give --inputs to see what is kept")
    }
    if let output {
      let picture = masks(rows: Self.headCells, columns: Self.headCells)
      try OutputTransaction([OutputFile(output, picture.svg(title: title))]).write()
      Terminal.say("wrote \(output)")
    }
  }

  private func drawPattern(_ strategy: any AttentionStrategy) throws {
    try refuseTensorOptions()
    try draw(strategy, on: problem(), source: "")
  }

  /// - Parameter source: what a title begins with.
  private func draw(
    _ strategy: any AttentionStrategy, on problem: AttentionProblem, source: String
  ) throws {
    // What has no causal form says so where its work is counted.
    if problem.visibility.causal, !strategy.servesCausalMasks {
      _ = try strategy.work(for: problem, threads: 1)
    }
    let print = try Terminal.printer(beside: output)
    let pattern = strategy.pattern(for: problem.geometry(batch: 0))
    let columns = Terminal.columns
    let fits = problem.shape.keyLength <= columns && problem.shape.queryLength <= columns
    // A character is about twice as high as it is wide.
    let grid = MaskGrid(pattern, maximumRows: fits ? columns : columns / 2, maximumColumns: columns)
    let title = "\(source)\(strategy.explainedSpec(for: problem)), \(problem.positionSummary)"

    try print(grid.text)
    try print("\(title): \(grid.summary)")
    try print(grid.legend)
    if strategy.selectsKeys {
      try print(
        "what there is to select from: which of it is kept depends on the data; give --inputs to see it"
      )
    }
    if strategy.operatorClass == .different {
      try print("no softmax: the operator weighs every visible key in its own way")
    }
    if let output {
      let picture = MaskGrid(
        pattern, maximumRows: Self.pictureCells, maximumColumns: Self.pictureCells)
      try OutputTransaction([OutputFile(output, picture.svg(title: title))]).write()
      Terminal.say("wrote \(output)")
    }
  }

  /// What speaks of tensors means nothing for a pattern.
  private func refuseTensorOptions(allowsHead: Bool = false) throws {
    let given = [
      allowsHead ? nil : head.map { "--head \($0)" }, batch.map { "--batch \($0)" },
      layout.map { "--layout \($0.rawValue)" }, mask.scale.map { "--scale \($0)" },
    ].compactMap { $0 }
    if let first = given.first {
      throw UsageError("\(first): is about tensors; give them with --inputs FILE.safetensors")
    }
    guard let output, !output.hasSuffix(".svg") else { return }
    // A pipe or a device has the name that it has.
    guard try OutputDestination(output).isFile else { return }
    throw UsageError(
      output.hasSuffix(".png")
        ? "--output \(output): a mask is written as .svg; .png needs --inputs"
        : "--output \(output): the name must end in .svg, which is what a mask is written as")
  }

  private func problem() throws -> AttentionProblem {
    guard let n else {
      throw UsageError("give -n, the number of queries, or --inputs FILE.safetensors")
    }
    let queries = try SizeText.parse(n, argument: "-n")
    let keys = try keyLength.map { try SizeText.parse($0, argument: "--n-kv") }
    let shape: AttentionShape
    do throws(AttentionError) {
      shape = try AttentionShape(heads: 1, queryLength: queries, keyLength: keys, headDim: 1)
    } catch {
      throw UsageError(naming: error)
    }
    return try mask.problem(shape)
  }
}
