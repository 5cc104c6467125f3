import Attention
import AttentionBench
import TensorFiles

/// `attnbench mask --inputs`: the attention of one head and what strategies keep of it.
struct AttentionMapDrawing {
  private let command: MaskCommand
  private let inputs: String

  /// Pixels of all panels of a picture together: about half a megabyte when none compresses.
  private static let picturePixels = 1 << 18
  /// Pixels of a panel's longer side.
  private static let pictureSide = 256

  init(_ command: MaskCommand, inputs: String) {
    self.command = command
    self.inputs = inputs
  }

  func run() throws {
    guard let head = command.head else {
      throw UsageError("--inputs \(inputs): say which head to draw with --head, from 0")
    }
    if let keys = command.keyLength {
      throw UsageError("--n-kv \(keys): the lengths are those of --inputs; leave it out")
    }
    let format = try format()
    let strategies = try strategies()
    try OutputTransaction.check(command.output.map { [$0] } ?? [])
    let print = try Terminal.printer(beside: command.output)
    let file = try InputFiles.problem(inputs: inputs, layout: command.layout ?? .bhnd)
    let lengths = try lengths(file.shape)
    let problem = try command.mask.problem(lengths)
    let size = gridSize(problem.shape, panels: strategies.count + 1, isPicture: format != nil)
    let map = try file.withViews { query, key, _ in
      do throws(AttentionError) {
        return try AttentionMap(
          of: strategies, on: problem, query: query.prefix(lengths.query),
          key: key.prefix(lengths.key), batch: command.batch ?? 0, head: head,
          maximumRows: size.rows, maximumColumns: size.columns)
      } catch {
        throw UsageError(naming: error)
      }
    }
    let title = "\(inputs), head \(head)" + (command.batch.map { ", sequence \($0)" } ?? "")
    let lines = lines(map, title: "\(title), \(problem.summary)", withGrids: format == nil)
    let picture = try format.map {
      try Gnuplot().picture(of: map, title: title, subtitle: problem.summary, format: $0)
    }
    try lines.forEach(print)
    if let picture, let output = command.output {
      try OutputTransaction([OutputFile(output, picture)]).write()
      Terminal.say("wrote \(output)")
    }
  }

  private func lines(_ map: AttentionMap, title: String, withGrids: Bool) -> [String] {
    var lines = [title]
    for panel in map.panels {
      let name = panel.strategy.isEmpty ? "" : panel.strategy + ": "
      lines.append("\(name)\(map.headline(panel))")
      if withGrids { lines.append(map.text(panel)) }
    }
    if withGrids { lines.append(map.textLegend) }
    return lines + map.captions(unit: withGrids ? "character" : "pixel")
  }

  private func strategies() throws(UsageError) -> [any AttentionStrategy] {
    do throws(AttentionError) {
      return try StrategyRegistry.standard.strategies(command.strategy)
    } catch {
      throw UsageError(strategy: error)
    }
  }

  private func format() throws(UsageError) -> GnuplotScript.Format? {
    guard let output = command.output else { return nil }
    for format in GnuplotScript.Format.allCases where output.hasSuffix("." + format.rawValue) {
      return format
    }
    throw UsageError("--output \(output): the name must end in .svg or .png")
  }

  /// The shape to draw: that of the file, or its first `-n` queries and keys.
  private func lengths(_ shape: AttentionShape) throws -> AttentionShape {
    guard let text = command.n else { return shape }
    let n = try SizeText.parse(text, argument: "-n")
    guard shape.queryLength == shape.keyLength else {
      throw UsageError(
        "-n \(text): \(inputs) has \(shape.queryLength) queries on \(shape.keyLength) keys, and "
          + "the first of both do not belong together; leave -n out")
    }
    guard n <= shape.queryLength else {
      throw UsageError("-n \(text): \(inputs) has \(shape.queryLength) queries; give at most that")
    }
    return try AttentionShape(
      batch: shape.batch, heads: shape.heads, kvHeads: shape.kvHeads, queryLength: n,
      headDim: shape.headDim, valueDim: shape.valueDim)
  }

  private func gridSize(
    _ shape: AttentionShape, panels: Int, isPicture: Bool
  ) -> (rows: Int, columns: Int) {
    if isPicture {
      let even = Int((Double(Self.picturePixels) / Double(panels)).squareRoot())
      let side = min(Self.pictureSide, even)
      return (side, side)
    }
    let columns = Terminal.columns
    let fits = shape.keyLength <= columns && shape.queryLength <= columns
    // A character is about twice as high as it is wide.
    return (fits ? columns : max(1, columns / 2), columns)
  }
}

extension TensorView {
  /// The first rows of every head.
  fileprivate func prefix(_ shape: TensorShape) throws(AttentionError) -> TensorView {
    try TensorView(
      base, .float32, shape: shape, strides: (batchStride, headStride, rowStride), owner: owner)
  }
}
