import Attention
import Choosing
import Measuring
import Records
import Statistics
import Units

/// The attention of one head as a picture: where the weight of each query lies, and beside it what
/// strategies keep of it.
///
/// A row of pixels is a block of consecutive queries, a column a block of consecutive keys. A pixel
/// holds the share of a query's attention that falls on its keys together, the mean over those of
/// its queries that were looked at, so each row of the first panel sums to 1, less what a sink logit
/// takes. Weights are softmax in fp64.
public struct AttentionMap: Sendable {
  /// What a panel shows.
  public enum Content: Sendable, Equatable {
    /// The softmax weights of all visible keys.
    case attention
    /// The part of those weights that lies on the keys a strategy scores.
    case kept
    /// The weights of another operator, which are no part of softmax's.
    case other
  }

  /// One picture; all panels of a map have the same grid.
  public struct Panel: Sendable {
    /// What is shown.
    public let content: Content
    /// The strategy with its parameters; empty for the attention itself.
    public let strategy: String
    /// Of `kept`, the share of attention that the strategy keeps. Of `other`, the share that it
    /// puts into the same pixels as softmax. The mean over the rows looked at, 0 to 1.
    public let share: Double
    /// By rows of pixels; NaN where no query of a pixel sees any of its keys.
    public let values: [Float]
  }

  /// Queries of the head.
  public let queryLength: Int
  /// Keys of the head.
  public let keyLength: Int
  /// Pixels from top to bottom.
  public let rowCount: Int
  /// Pixels from left to right.
  public let columnCount: Int
  /// Queries looked at.
  public let sampledRows: Int
  /// Those of them that see no key, or whose scores are not numbers: they are left out.
  public let emptyRows: Int
  /// The attention first, then the strategies in the order given.
  public let panels: [Panel]

  /// Queries looked at in a row of pixels at most; more would not show.
  private static let rowsPerPixel = 4

  /// Computes the map of one head.
  ///
  /// - Parameters:
  ///   - strategies: what to draw beside the attention.
  ///   - query: `[b, h, nQ, d]`.
  ///   - key: `[b, hKV, nKV, d]`.
  ///   - named: what strategies take beside them, by name, in fp32.
  ///   - head: the query head.
  /// - Throws: `AttentionError` when there is no such head or sequence, or a view does not have the
  ///   problem's shape, or an operand is missing, or memory for another operator's weights is refused.
  /// - Complexity: O(r nKV d) for r rows looked at, 4 a row of pixels at most, and
  ///   O(r nKV columns) for each strategy that is another operator.
  public init(
    of strategies: [any AttentionStrategy], on problem: AttentionProblem, query: TensorView,
    key: TensorView, named: [String: TensorView] = [:], batch: Int = 0, head: Int,
    maximumRows: Int, maximumColumns: Int
  ) throws(AttentionError) {
    let shape = problem.shape
    try Self.check(shape, query, key, batch: batch, head: head)
    queryLength = shape.queryLength
    keyLength = shape.keyLength
    rowCount = max(1, min(maximumRows, shape.queryLength))
    columnCount = max(1, min(maximumColumns, shape.keyLength))

    let geometry = problem.geometry(batch: batch)
    var sums = [PanelSums(.pattern(DensePattern(geometry)), rowCount, columnCount)]
    for strategy in strategies {
      let source: PanelSums.Source =
        strategy.operatorClass == .different || strategy.selectsKeys
        ? .oracle(
          try PooledOracle(
            strategy, problem, query: query, key: key, named: named, batch: batch, head: head,
            columns: columnCount))
        : .pattern(strategy.pattern(for: geometry))
      sums.append(PanelSums(source, rowCount, columnCount))
    }
    var row = MapRow(
      HeadWeights(problem, query: query, key: key, batch: batch, head: head),
      columns: columnCount, of: keyLength)
    var generator = SeededGenerator(seed: 1)
    var (taken, empty) = (0, 0)
    for pixelRow in 0..<rowCount {
      let block = MaskGrid.block(pixelRow, of: rowCount, over: queryLength)
      for index in Self.sample(block, using: &generator) {
        taken += 1
        guard row.compute(index) else {
          empty += 1
          continue
        }
        for panel in sums.indices { sums[panel].add(row, to: pixelRow) }
      }
    }
    sampledRows = taken
    emptyRows = empty
    let names = [""] + strategies.map { $0.spec(for: problem) }
    panels = zip(sums, names).enumerated().map { place, panel in
      Panel(
        content: place == 0 ? .attention : panel.0.isOther ? .other : .kept, strategy: panel.1,
        share: panel.0.share, values: panel.0.values)
    }
  }

  /// The value of a panel's pixel; nil where none of its queries sees any of its keys.
  public func value(_ panel: Panel, row: Int, column: Int) -> Double? {
    let value = panel.values[row * columnCount + column]
    return value.isNaN ? nil : Double(value)
  }

  /// Whether every pixel is one query and one key.
  public var isExact: Bool { rowCount == queryLength && columnCount == keyLength }

  /// All rows of a block, or one at a random place of each of its equal parts.
  private static func sample(_ block: Range<Int>, using generator: inout SeededGenerator) -> [Int] {
    if block.count <= rowsPerPixel { return Array(block) }
    return (0..<rowsPerPixel).map { part in
      let range = MaskGrid.block(part, of: rowsPerPixel, over: block.count)
      return block.lowerBound + Int.random(in: range, using: &generator)
    }
  }

  private static func check(
    _ shape: AttentionShape, _ query: TensorView, _ key: TensorView, batch: Int, head: Int
  ) throws(AttentionError) {
    for (name, index, count) in [("head", head, shape.heads), ("batch", batch, shape.batch)]
    where !(0..<count).contains(index) {
      throw AttentionError(
        .invalidArgument, argument: name, value: index,
        advice: count == 1 ? "there is only 0" : "there are 0 to \(count - 1)")
    }
    for (name, view, expected) in [("query", query, shape.query), ("key", key, shape.key)]
    where view.shape != expected {
      throw AttentionError(
        .shapeMismatch, argument: name, value: view.shape, advice: "the problem has \(expected)")
    }
  }
}
