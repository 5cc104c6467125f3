import Attention
import Choosing
import Measuring
import Records
import Statistics
import Units

/// One query row of a head: its weights, and their sums over the columns of pixels.
struct MapRow {
  private(set) var head: HeadWeights
  /// The row.
  private(set) var index = 0
  /// The share of the row's attention on each column of pixels.
  private(set) var pooled: [Double]
  /// The column of pixels of each key.
  let columnOfKey: [Int]

  init(_ head: HeadWeights, columns: Int, of keyLength: Int) {
    self.head = head
    pooled = Array(repeating: 0, count: columns)
    columnOfKey = (0..<columns).flatMap { column in
      MaskGrid.block(column, of: columns, over: keyLength).map { _ in column }
    }
  }

  /// Computes a row; false where it has no weights.
  mutating func compute(_ index: Int) -> Bool {
    self.index = index
    guard head.compute(row: index) else { return false }
    for column in pooled.indices { pooled[column] = 0 }
    for (key, weight) in zip(head.visible, head.weights) { pooled[columnOfKey[key]] += weight }
    return true
  }
}

/// The pixels of one panel while rows are added to them.
struct PanelSums {
  /// Where the panel's weights come from.
  enum Source {
    /// Softmax weights, of the keys that a pattern includes.
    case pattern(any KeyPattern)
    /// An operator's own.
    case oracle(PooledOracle)
  }

  private let source: Source
  private let columns: Int
  private var sums: [Double]
  private var isSeen: [Bool]
  private var rowsAdded: [Int]
  private var shares = 0.0

  init(_ source: Source, _ rows: Int, _ columns: Int) {
    self.source = source
    self.columns = columns
    sums = Array(repeating: 0, count: rows * columns)
    isSeen = Array(repeating: false, count: rows * columns)
    rowsAdded = Array(repeating: 0, count: rows)
  }

  var isOther: Bool {
    if case .oracle = source { true } else { false }
  }

  mutating func add(_ row: MapRow, to pixelRow: Int) {
    let first = pixelRow * columns
    rowsAdded[pixelRow] += 1
    switch source {
    case .pattern(let pattern):
      let position = row.index + pattern.geometry.offset
      for (key, weight) in zip(row.head.visible, row.head.weights)
      where pattern.includes(position: position, key: key) {
        let pixel = first + row.columnOfKey[key]
        sums[pixel] += weight
        isSeen[pixel] = true
        shares += weight / row.head.total
      }
    case .oracle(let oracle):
      let own = oracle.row(row.head, row.index)
      for column in 0..<columns {
        sums[first + column] += own[column]
        shares += min(own[column], row.pooled[column])
      }
      for key in row.head.visible { isSeen[first + row.columnOfKey[key]] = true }
    }
  }

  /// The mean over all rows added; 0 before the first.
  var share: Double {
    let count = rowsAdded.reduce(0, +)
    return count == 0 ? 0 : shares / Double(count)
  }

  /// The means of the pixels; NaN for pixels that nothing is seen in.
  var values: [Float] {
    sums.indices.map { pixel in
      isSeen[pixel] ? Float(sums[pixel] / Double(rowsAdded[pixel / columns])) : .nan
    }
  }
}

/// An operator's weights, summed over columns of pixels.
///
/// Operators give outputs, not weights. With values that say which column of pixels a key belongs
/// to, 1 in that place and 0 elsewhere, the output of a row is its weights summed by column.
struct PooledOracle {
  private let oracle: any AttentionOracle
  private let view: TensorView
  private let named: [String: TensorView]

  /// Of one head of one sequence.
  ///
  /// - Parameter named: has what the strategy takes beside query and key.
  /// - Throws: `AttentionError` when an operand is missing or of another shape, and when the system refuses
  ///   the memory, nKV times `columns` floats.
  init(
    _ strategy: any AttentionStrategy, _ problem: AttentionProblem, query: TensorView,
    key: TensorView, named: [String: TensorView], batch: Int, head: Int, columns: Int
  ) throws(AttentionError) {
    let shape = problem.shape
    self.named = try Self.operands(of: strategy, on: shape, among: named)
    let pooled = try problem.with { shape, _, _, storage in
      shape.valueDim = columns
      storage = Storage()
    }
    // What has no causal form says so where its work is counted.
    if problem.visibility.causal, !strategy.servesCausalMasks {
      _ = try strategy.work(for: pooled, threads: 1)
    }
    let values = try Tensor(TensorShape(1, 1, shape.keyLength, columns))
    let elements = values.elements
    for column in 0..<columns {
      for key in MaskGrid.block(column, of: columns, over: shape.keyLength) {
        elements[key * columns + column] = 1
      }
    }
    // All heads and sequences read the same values.
    view = try TensorView(
      values.view.base, .float32, shape: pooled.shape.value,
      strides: (batch: 0, head: 0, row: columns), owner: values)
    oracle = strategy.oracle(for: pooled).prepared(
      InputViews(query: query, key: key, value: view, named: self.named), batch: batch, head: head)
  }

  private static func operands(
    of strategy: any AttentionStrategy, on shape: AttentionShape, among named: [String: TensorView]
  ) throws(AttentionError) -> [String: TensorView] {
    var own: [String: TensorView] = [:]
    for operand in strategy.operands {
      // What a state brings along belongs to no key, and has columns of values.
      guard !operand.axes.contains(.valueDim), let view = named[operand.name] else {
        if operand.isOptional { continue }
        throw AttentionError(
          .invalidArgument, argument: "operand \(operand.name)", value: "missing",
          advice: "\(strategy.name) needs \(operand.letters) to be drawn: \(operand.meaning)")
      }
      let expected = try operand.shape(in: shape)
      guard view.shape == expected else {
        throw AttentionError(
          .shapeMismatch, argument: "operand \(operand.name)", value: view.shape,
          advice: "must be \(operand.letters) = \(expected)")
      }
      own[operand.name] = view
    }
    return own
  }

  func row(_ head: HeadWeights, _ row: Int) -> [Double] {
    oracle.row(
      InputViews(query: head.query, key: head.key, value: view, named: named), batch: head.batch,
      head: head.head, row: row
    ).output
  }
}
