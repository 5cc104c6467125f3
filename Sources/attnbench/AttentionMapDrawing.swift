import Attention
import AttentionBench
import TensorFiles

/// `attnbench mask --inputs`: the attention of a head, or of all of them, and what strategies keep of
/// it.
struct AttentionMapDrawing {
  private let command: MaskCommand
  private let inputs: String

  /// Pixels of all panels of a picture together: about half a megabyte when none compresses.
  private static let picturePixels = 1 << 18
  /// Pixels of a panel's longer side.
  private static let pictureSide = 256
  /// The same where all heads are drawn, beside each other.
  private static let smallSide = 112

  init(_ command: MaskCommand, inputs: String) {
    self.command = command
    self.inputs = inputs
  }

  func run() throws {
    if let keys = command.keyLength {
      throw UsageError("--n-kv \(keys): the lengths are those of --inputs; leave it out")
    }
    let format = try format()
    let plan = try command.plan.map {
      try MaskPlan(path: $0, layer: command.layer, inputs: inputs)
    }
    let strategies = try strategies()
    let print = try Terminal.printer(beside: command.output)
    let declared = (strategies + (plan?.strategies ?? [])).flatMap(\.operands)
    let file = try InputFiles.problem(
      inputs: inputs, layout: command.layout ?? .bhnd, operands: declared)
    let stated = try StatedAttention(command.mask, inputs: inputs, on: file.shape)
    stated.announce(inputs)
    let lengths = try lengths(file.shape)
    let problem = try stated.problem(on: lengths, elements: Storage())
    let operands = try file.operands(declared, for: lengths)
    // A single head is its own grid.
    let head = command.head ?? (problem.shape.heads == 1 ? 0 : nil)
    let heads = head.map { "head \($0)" } ?? "all \(problem.shape.heads) heads"
    let title =
      "\(inputs), \(heads)" + (command.batch.map { ", sequence \($0)" } ?? "")
      + (plan.map { ", \($0.name)" } ?? "")
    let panels =
      (strategies.count + (plan == nil ? 1 : 2)) * (head == nil ? problem.shape.heads : 1)
    let size = gridSize(
      problem.shape, panels: panels, isPicture: format != nil, isSmall: head == nil)
    let drawing = try file.withViews { query, key, _ in
      do throws(AttentionError) {
        return try Drawing(
          of: strategies, plan: plan?.strategies, on: problem,
          query: query.prefix(lengths.query), key: key.prefix(lengths.key),
          named: operands.mapValues(\.view), batch: command.batch ?? 0, head: head, size)
      } catch {
        throw stated.naming(error)
      }
    }
    let picture = try format.map {
      try drawing.picture(title: title, subtitle: problem.summary, $0)
    }
    try print("\(title), \(problem.summary)")
    try drawing.lines(columns: Terminal.columns, withGrids: format == nil).forEach(print)
    if let picture, let output = command.output {
      try OutputTransaction([OutputFile(output, picture)]).write()
      Terminal.say("wrote \(output)")
    }
  }

  private func strategies() throws(UsageError) -> [any AttentionStrategy] {
    guard let strategy = command.strategy else { return [] }
    do throws(AttentionError) {
      return try StrategyRegistry.standard.strategies(strategy)
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
    _ shape: AttentionShape, panels: Int, isPicture: Bool, isSmall: Bool
  ) -> (rows: Int, columns: Int) {
    if isPicture {
      let even = Int((Double(Self.picturePixels) / Double(panels)).squareRoot())
      let side = min(isSmall ? Self.smallSide : Self.pictureSide, max(even, 24))
      return (side, side)
    }
    let columns = isSmall ? min(MaskCommand.headColumns, Terminal.columns) : Terminal.columns
    let fits = shape.keyLength <= columns && shape.queryLength <= columns
    // A character is about twice as high as it is wide.
    return (fits ? columns : max(1, columns / 2), columns)
  }
}

/// The map of one head, or those of all.
private enum Drawing {
  case one(AttentionMap)
  case all(HeadMaps)

  /// - Parameter head: nil draws all.
  init(
    of strategies: [any AttentionStrategy], plan: [any AttentionStrategy]?,
    on problem: AttentionProblem, query: TensorView, key: TensorView, named: [String: TensorView],
    batch: Int, head: Int?, _ size: (rows: Int, columns: Int)
  ) throws(AttentionError) {
    if let head {
      // A head that is not there is refused below, by its number.
      let own = plan.flatMap { $0.indices.contains(head) ? [$0[head]] : nil } ?? []
      self = .one(
        try AttentionMap(
          of: strategies + own, on: problem, query: query, key: key, named: named, batch: batch,
          head: head, maximumRows: size.rows, maximumColumns: size.columns))
    } else {
      self = .all(
        try HeadMaps(
          of: strategies, plan: plan, on: problem, query: query, key: key, named: named,
          batch: batch, maximumRows: size.rows, maximumColumns: size.columns))
    }
  }

  func picture(
    title: String, subtitle: String, _ format: GnuplotScript.Format
  ) throws(PlotError) -> [UInt8] {
    switch self {
    case .one(let map):
      try Gnuplot().picture(of: map, title: title, subtitle: subtitle, format: format)
    case .all(let heads):
      try Gnuplot().picture(of: heads, title: title, subtitle: subtitle, format: format)
    }
  }

  /// What there is to say, and without a picture the maps in characters.
  func lines(columns: Int, withGrids: Bool) -> [String] {
    let unit = withGrids ? "character" : "pixel"
    switch self {
    case .one(let map):
      var lines: [String] = []
      for panel in map.panels {
        let name = panel.strategy.isEmpty ? "" : panel.strategy + ": "
        lines.append("\(name)\(map.headline(panel))")
        if withGrids { lines.append(map.text(panel)) }
      }
      return lines + (withGrids ? [map.textLegend] : []) + map.captions(unit: unit)
    case .all(let heads):
      let said =
        withGrids
        ? heads.text(columns: columns)
        : heads.blocks.flatMap { block in
          [block.headline]
            + (block.tiles[0].panel.content == .attention
              ? []
              : [
                block.tiles.map { tile in
                  tile.label + (tile.strategy.isEmpty ? "" : " of \(tile.strategy)")
                }.joined(separator: ", ")
              ])
        }
      return said + heads.captions(unit: unit)
    }
  }
}

extension TensorView {
  /// The first rows of every head.
  fileprivate func prefix(_ shape: TensorShape) throws(AttentionError) -> TensorView {
    try TensorView(
      base, .float32, shape: shape, strides: (batchStride, headStride, rowStride), owner: owner)
  }
}
