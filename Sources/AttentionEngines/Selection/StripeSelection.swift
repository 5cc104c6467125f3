import AttentionContract
import AttentionKernels
import RealModule
import Tensors

/// Columns and diagonals of a head's attention, found from its last queries: the keys and the distances that
/// have most of those queries' weights, each by their sum. The diagonal of the own position is always kept and
/// counted.
///
/// Ties go to the earlier key. A NaN among the weights makes all rows of the head NaN.
public struct StripeSelection: Sendable {
  /// Columns and diagonals that are kept.
  let columns: Int
  let diagonals: Int
  /// Queries that decide.
  let rows: Int

  public init(columns: Int, diagonals: Int, rows: Int) {
    (self.columns, self.diagonals, self.rows) = (columns, diagonals, rows)
  }

  /// The rows that decide.
  func decidingRows(_ geometry: MaskGeometry) -> Range<Int> {
    max(0, geometry.queryLength - rows)..<geometry.queryLength
  }

  /// Whether every key of a sequence is kept.
  func keepsAll(_ geometry: MaskGeometry) -> Bool { columns >= geometry.keyLength }
}

extension StripeSelection: KeySelectionMethod {
  var operands: [OperandDeclaration] { [] }
  func sharedLists(_ problem: AttentionProblem) -> SharedLists? { nil }

  var hasColumns: Bool { true }

  func mostWritten(_ problem: AttentionProblem) -> Int {
    min(columns + diagonals, problem.shape.keyLength)
  }

  /// As if no diagonal crossed a column: at most so many.
  func pairs(under geometry: MaskGeometry) -> Int {
    (0..<geometry.queryLength).reduce(0) { sum, row in
      let visible = geometry.visible(from: row + geometry.offset).count
      return sum + min(min(columns, visible) + min(diagonals, visible), visible)
    }
  }

  /// Products of the deciding rows with all keys, their softmax, and two sums.
  func flops(under geometry: MaskGeometry, _ shape: AttentionShape) -> Int {
    if keepsAll(geometry) { return 0 }
    return shape.heads * decidingRows(geometry).count * geometry.keyLength
      * (2 * shape.headDim + 4)
  }

  func bytes(_ layout: KeptKeysLayout) -> Int { StripeSelector.bytes(self, layout) }

  func selector(_ layout: KeptKeysLayout) throws(AttentionError) -> any KeySelector {
    try StripeSelector(self, layout)
  }

  func oracle(for problem: AttentionProblem) -> any AttentionOracle {
    SelectedOracle(problem, StripeDefinition(problem, self))
  }

  func companion(
    for problem: AttentionProblem, kernels: KernelTable
  ) throws(AttentionError) -> (any CacheCompanion)? { nil }
}

/// Columns and diagonals, by the definition.
private struct StripeDefinition: SelectionDefinition {
  private let problem: AttentionProblem
  private let selection: StripeSelection

  init(_ problem: AttentionProblem, _ selection: StripeSelection) {
    (self.problem, self.selection) = (problem, selection)
  }

  var isOfHeads: Bool { true }

  /// A diagonal goes by the distance from the query's row to the key.
  func keeps(_ key: Int, row: Int, batch: Int, of items: [Set<Int>]) -> Bool {
    items[0].contains(key) || items[1].contains(key - row)
  }

  func contests(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> [Contest]? {
    let geometry = problem.geometry(batch: batch)
    if selection.keepsAll(geometry) { return [] }
    let rows = selection.decidingRows(geometry)
    let kvHead = head / problem.shape.groupSize
    var columns = Array(repeating: 0.0, count: geometry.keyLength)
    // The diagonal through the last row and the first key comes first.
    var diagonals = Array(repeating: 0.0, count: geometry.keyLength + rows.count - 1)
    var largest = 0.0
    for row in rows {
      let visible = geometry.visible(from: row + geometry.offset)
      if visible.isEmpty { continue }
      let query = inputs.query.floats(batch, head, row)
      let scores = visible.map { index in
        let key = inputs.key.floats(batch, kvHead, index)
        var (score, size) = (0.0, 0.0)
        for column in query.indices {
          let term = Double(problem.scale) * Double(query[column]) * Double(key[column])
          score += term
          size += abs(term)
        }
        largest = max(largest, size)
        guard let cap = problem.scoring.softcap.map(Double.init) else { return score }
        return cap * Double.tanh(score / cap)
      }
      let sink = problem.scoring.sinkLogits.map { Double($0[head]) } ?? -.infinity
      let maximum = max(scores.max() ?? 0, sink)
      let weights = scores.map { Double.exp($0 - maximum) }
      let sum = weights.reduce(Double.exp(sink - maximum), +)
      let behind = rows.upperBound - 1 - row
      for (key, weight) in zip(visible, weights) {
        let share = weight / sum
        columns[key] += share
        diagonals[key + behind] += share
      }
    }
    if columns.contains(where: \.isNaN) { return nil }
    let first = 1 - rows.upperBound
    let own = geometry.offset - first
    let isThere = diagonals.indices.contains(own)
    // A weight is off by as much as its score is, relatively.
    let terms = Double(problem.shape.headDim).squareRoot() + 4
    let relative = 0x1p-24 * (terms * largest + Double(rows.count).squareRoot() + 12)
    return [
      Contest(
        columns.enumerated().map { ($0.offset, $0.element) }, places: selection.columns,
        relative: relative),
      Contest(
        own: isThere ? [geometry.offset] : [],
        diagonals.enumerated().filter { $0.offset != own }
          .map { ($0.offset + first, $0.element) },
        places: selection.diagonals - (isThere ? 1 : 0), relative: relative),
    ]
  }
}
