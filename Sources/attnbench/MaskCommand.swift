import ArgumentParser
import Attention
import AttentionBench

/// `attnbench mask`: who sees whom.
struct MaskCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mask",
    abstract: "Draw which keys each query sees.",
    discussion: """
      Queries run downwards, keys to the right. What does not fit the terminal is drawn in blocks.
      Example: attnbench mask --strategy 'window(8, sinks: 2)' -n 64 --causal -o mask.svg
      """)

  @Option(help: "The strategy, as 'window(8)'; see attnbench list.")
  var strategy: String

  @Option(
    name: [.customShort("n"), .long], parsing: .unconditional, help: "Queries, as 64 or 1k.")
  var n: String

  @Option(
    name: .customLong("n-kv"), parsing: .unconditional,
    help: "Keys (default: as many as queries).")
  var keyLength: String?

  @OptionGroup var positions: PositionOptions

  @Option(name: [.customShort("o"), .customLong("output")], help: "Write an SVG picture too.")
  var output: String?

  /// Cells of a picture's longer side: more than a screen resolves would only make it large.
  private static let pictureCells = 512

  mutating func run() throws {
    let strategy = try StrategyOptions.strategy(self.strategy)
    let problem = try problem()
    let pattern = strategy.pattern(for: problem.geometry(batch: 0))
    let columns = Terminal.columns
    let fits = problem.shape.keyLength <= columns && problem.shape.queryLength <= columns
    // A character is about twice as high as it is wide.
    let grid = MaskGrid(pattern, maximumRows: fits ? columns : columns / 2, maximumColumns: columns)
    let title = "\(strategy.explainedSpec(for: problem)), \(description(problem))"

    try Terminal.print(grid.text)
    try Terminal.print("\(title): \(grid.summary)")
    try Terminal.print(grid.legend)
    if type(of: strategy).operatorClass == .different {
      try Terminal.print("no softmax: the operator weighs every visible key in its own way")
    }
    if let output {
      let picture = MaskGrid(
        pattern, maximumRows: Self.pictureCells, maximumColumns: Self.pictureCells)
      try picture.writeSVG(title: title, to: output)
      Terminal.say("wrote \(output)")
    }
  }

  private func problem() throws -> AttentionProblem {
    let n = try SizeText.parse(self.n, argument: "-n")
    let keys = try keyLength.map { try SizeText.parse($0, argument: "--n-kv") }
    let offset = try positions.offset()
    do throws(AttentionError) {
      return try AttentionProblem(
        AttentionShape(heads: 1, queryLength: n, keyLength: keys, headDim: 1),
        causal: positions.causal, offset: offset)
    } catch {
      throw UsageError(naming: error)
    }
  }

  /// Sizes and positions, without the dimensions that a mask does not have.
  private func description(_ problem: AttentionProblem) -> String {
    problem.summary.split(separator: " ").filter { !$0.hasPrefix("h") && !$0.hasPrefix("d") }
      .joined(separator: " ")
  }
}
