import ArgumentParser
import Attention
import AttentionBench
import TensorFiles

/// `attnbench mask`: who sees whom, and where a head's attention lies.
struct MaskCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mask",
    abstract: "Draw which keys each query sees, or what a head really attends to.",
    discussion: """
      Queries run downwards, keys to the right. What does not fit is drawn in blocks. With --inputs, \
      the softmax attention of a head and, beside it, what each strategy keeps of it.
      Example: attnbench mask --strategy 'window(8, sinks: 2)' -n 64 --causal -o mask.svg
      Example: attnbench mask --inputs qkv.safetensors:layer3 --head 2 --strategy 'window(64)' -o a.svg
      """)

  @Option(help: "The strategy, as 'window(8)'; with --inputs a list. See attnbench list.")
  var strategy: String

  @Option(
    name: [.customShort("n"), .long], parsing: .unconditional,
    help: "Queries, as 64 or 1k; with --inputs only the first N queries and keys are drawn.")
  var n: String?

  @Option(
    name: .customLong("n-kv"), parsing: .unconditional,
    help: "Keys (default: as many as queries).")
  var keyLength: String?

  @Option(help: "Draw the attention of these tensors: FILE.safetensors or FILE.safetensors:PREFIX.")
  var inputs: [String] = []

  @Option(parsing: .unconditional, help: "With --inputs: the query head, from 0.")
  var head: Int?

  @Option(parsing: .unconditional, help: "With --inputs: the sequence, from 0 (default: 0).")
  var batch: Int?

  @Option(help: "With --inputs: order of the axes, bhnd (default) or bnhd.")
  var layout: TensorLayout?

  @OptionGroup var mask: MaskOptions

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: "Write a picture: .svg, with --inputs also .png.")
  var output: String?

  /// Cells of a picture's longer side: more than a screen resolves would only make it large.
  private static let pictureCells = 512

  mutating func run() throws {
    if let inputs = try InputFiles.only(inputs) {
      try AttentionMapDrawing(self, inputs: inputs).run()
    } else {
      try drawPattern()
    }
  }

  private func drawPattern() throws {
    try refuseTensorOptions()
    let strategy = try StrategyOptions.strategy(self.strategy)
    let problem = try problem()
    try OutputTransaction.check(output.map { [$0] } ?? [])
    let print = try Terminal.printer(beside: output)
    let pattern = strategy.pattern(for: problem.geometry(batch: 0))
    let columns = Terminal.columns
    let fits = problem.shape.keyLength <= columns && problem.shape.queryLength <= columns
    // A character is about twice as high as it is wide.
    let grid = MaskGrid(pattern, maximumRows: fits ? columns : columns / 2, maximumColumns: columns)
    let title = "\(strategy.explainedSpec(for: problem)), \(problem.positionSummary)"

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
  private func refuseTensorOptions() throws(UsageError) {
    let given = [
      head.map { "--head \($0)" }, batch.map { "--batch \($0)" },
      layout.map { "--layout \($0.rawValue)" }, mask.scale.map { "--scale \($0)" },
    ].compactMap { $0 }
    if let first = given.first {
      throw UsageError("\(first): is about tensors; give them with --inputs FILE.safetensors")
    }
    if let output, output.hasSuffix(".png") {
      throw UsageError("--output \(output): a mask is written as .svg; .png needs --inputs")
    }
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
