import AttentionContract
import AttentionKernels
import Tensors

/// The keys with the best scores of an index, for all heads of a row together:
/// I(t, s) = sum over index heads h of w_h(t) max(0, q_h(t) . k(s)).
///
/// Ties go to the earlier key. A NaN counts as the best score, and a row that would keep a key for it becomes
/// NaN.
public struct IndexSelection: Sendable {
  /// Keys that a row keeps.
  let top: Int
  /// Heads of the index, and columns of each.
  let heads: Int
  let columns: Int

  public init(top: Int, heads: Int, columns: Int) {
    (self.top, self.heads, self.columns) = (top, heads, columns)
  }

  static let query = "index_q"
  static let key = "index_k"
  static let weight = "index_w"

  /// What it takes beyond query, key and value.
  public var operands: [OperandDeclaration] { operands(keyLength: .keyLength) }

  /// - Parameter keyLength: the axis of new keys in a step.
  func operands(keyLength: OperandAxis) -> [OperandDeclaration] {
    let domain = -Float.greatestFiniteMagnitude...Float.greatestFiniteMagnitude
    return [
      OperandDeclaration(
        Self.query, axes: [.batch, .size(heads), .queryLength, .size(columns)],
        meaning: "queries of the index", domain: domain
      ) { Float(2 * $0 - 1) },
      OperandDeclaration(
        Self.key, axes: [.batch, .size(1), keyLength, .size(columns)],
        meaning: "keys of the index, one head for all", domain: domain
      ) { Float(2 * $0 - 1) },
      OperandDeclaration(
        Self.weight, axes: [.batch, .size(heads), .queryLength],
        meaning: "how much a head of the index counts for a query", domain: domain
      ) { Float($0) },
    ]
  }
}

extension IndexSelection: KeySelectionMethod {
  func sharedLists(_ problem: AttentionProblem) -> SharedLists? { lists(problem.shape) }

  func lists(_ shape: AttentionShape) -> SharedLists {
    SharedLists(
      rows: min(IndexSelector.turnRows, shape.queryLength), most: min(top, shape.keyLength))
  }

  func mostWritten(_ problem: AttentionProblem) -> Int { 0 }

  func pairs(under geometry: MaskGeometry) -> Int {
    (0..<geometry.queryLength).reduce(0) {
      $0 + min(geometry.visible(from: $1 + geometry.offset).count, top)
    }
  }

  /// A product, a maximum and a weighted sum for each head, key and row: once for all heads of attention. Rows
  /// that keep all they see need none.
  func flops(under geometry: MaskGeometry, _ shape: AttentionShape) -> Int {
    let scored = (0..<geometry.queryLength).reduce(0) { sum, row in
      let visible = geometry.visible(from: row + geometry.offset).count
      return sum + (visible > top ? visible : 0)
    }
    return scored * heads * (2 * columns + 3)
  }

  func bytes(_ layout: KeptKeysLayout) -> Int { IndexSelector.bytes(self, layout) }

  func selector(_ layout: KeptKeysLayout) throws(AttentionError) -> any KeySelector {
    try IndexSelector(self, layout)
  }

  func oracle(for problem: AttentionProblem) -> any AttentionOracle {
    SelectedOracle(problem, IndexDefinition(problem, self))
  }

  func companion(
    for problem: AttentionProblem, kernels: KernelTable
  ) throws(AttentionError) -> (any CacheCompanion)? {
    try IndexCompanion(self, problem, kernels: kernels)
  }
}

/// The best keys of an index, by the definition.
private struct IndexDefinition: SelectionDefinition {
  private let problem: AttentionProblem
  private let selection: IndexSelection

  init(_ problem: AttentionProblem, _ selection: IndexSelection) {
    (self.problem, self.selection) = (problem, selection)
  }

  func keeps(_ key: Int, row: Int, batch: Int, of items: [Set<Int>]) -> Bool {
    items[0].contains(key)
  }

  func contests(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> [Contest]? {
    let geometry = problem.geometry(batch: batch)
    let visible = geometry.visible(from: row + geometry.offset)
    guard visible.count > selection.top, let query = inputs.named[IndexSelection.query],
      let key = inputs.named[IndexSelection.key], let weight = inputs.named[IndexSelection.weight]
    else { return [] }
    var size = 0.0
    let scored = visible.map { index in
      let keys = key.floats(batch, 0, index)
      var (score, magnitude) = (0.0, 0.0)
      for head in 0..<selection.heads {
        let queries = query.floats(batch, head, row)
        let w = Double(weight.floats(batch, head, row)[0])
        var (product, products) = (0.0, 0.0)
        for column in 0..<selection.columns {
          let term = Double(queries[column]) * Double(keys[column])
          product += term
          products += abs(term)
        }
        score += w * (product < 0 ? 0 : product)
        magnitude += abs(w) * products
      }
      size = max(size, magnitude)
      return (item: index, score: score)
    }
    if scored.contains(where: { $0.score.isNaN }) { return nil }
    let terms = Double(selection.columns).squareRoot() + Double(selection.heads)
    return [
      Contest(scored, places: selection.top, rounding: 0x1p-24 * (terms + 4) * size)
    ]
  }
}
