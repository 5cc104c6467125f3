import AttentionContract
import Tensors

/// Blocks with the best scores, by the definition.
struct BlockDefinition: SelectionDefinition {
  private let problem: AttentionProblem
  private let selection: BlockSelection

  init(_ problem: AttentionProblem, _ selection: BlockSelection) {
    (self.problem, self.selection) = (problem, selection)
  }

  func keeps(_ key: Int, row: Int, batch: Int, of items: [Set<Int>]) -> Bool {
    items[0].contains(key / selection.block)
  }

  func contests(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> [Contest]? {
    let geometry = problem.geometry(batch: batch)
    let first = row / selection.rows * selection.rows
    let rows = first..<min(first + selection.rows, geometry.queryLength)
    let (own, candidates) = blocks(of: rows, under: geometry)
    let places = min(max(selection.top - own.count, 0), candidates.count)
    let kvHead = head / problem.shape.groupSize
    let query = mean(inputs.query, batch, head, rows)
    let sign = problem.scale < 0 ? -1.0 : 1.0
    var size = 0.0
    var scored: [Contest.Scored] = []
    for block in candidates {
      let begin = block * selection.block
      let keys = begin..<min(begin + selection.block, geometry.keyLength)
      switch selection.score {
      case .mean:
        let key = mean(inputs.key, batch, kvHead, keys)
        scored.append((block, sign * zip(query.mean, key.mean).reduce(0) { $0 + $1.0 * $1.1 }))
        size = max(size, zip(query.size, key.size).reduce(0) { $0 + $1.0 * $1.1 })
      case .bound:
        let bound = bound(sign, query.mean, inputs.key, batch, kvHead, keys)
        scored.append((block, bound.score))
        size = max(size, bound.size)
      }
    }
    // A sum of d products in fp32, of means of as many terms as a block has keys; extremes are exact.
    let terms =
      Double(problem.shape.headDim).squareRoot()
      + (selection.score == .mean ? Double(selection.block).squareRoot() : 0)
    return [
      Contest(
        own: own, scored, places: places,
        rounding: 0x1p-24 * (terms + 4) * size)
    ]
  }

  /// The blocks that rows which select together keep in any case, and those that compete, in order.
  private func blocks(
    of rows: Range<Int>, under geometry: MaskGeometry
  ) -> (own: [Int], candidates: [Int]) {
    let all = (0..<geometry.keyLength).filter { $0 % selection.block == 0 }
      .map { $0 / selection.block }
    let positions = rows.map { $0 + geometry.offset }
    if !selection.keepsOwn {
      // Keys of a row of its own, as far as it sees them.
      let visible = geometry.visible(from: positions[0])
      return ([], all.filter { visible.contains($0 * selection.block) })
    }
    let own = all.filter { block in
      positions.contains { $0 >= 0 && min($0 / selection.block, all.count - 1) == block }
    }
    let candidates = all.filter { block in
      !own.contains(block) && (!geometry.causal || own.first.map { block < $0 } ?? false)
    }
    return (own, candidates)
  }

  /// The most that the product of a query with any key of a block could be, by the extremes of the keys'
  /// channels.
  private func bound(
    _ sign: Double, _ query: [Double], _ tensor: TensorView, _ batch: Int, _ head: Int,
    _ keys: Range<Int>
  ) -> (score: Double, size: Double) {
    var largest = Array(repeating: -Double.infinity, count: query.count)
    var least = Array(repeating: Double.infinity, count: query.count)
    var isFinite = true
    for key in keys {
      for (column, element) in tensor.floats(batch, head, key).enumerated() {
        isFinite = isFinite && element.isFinite
        largest[column] = max(largest[column], Double(element))
        least[column] = min(least[column], Double(element))
      }
    }
    // What is not finite counts as the best: 0 times infinity is no number.
    if !isFinite { return (.nan, 0) }
    var (score, size) = (0.0, 0.0)
    for column in query.indices {
      let x = sign * query[column]
      score += max(x * largest[column], x * least[column])
      size += abs(x) * max(abs(largest[column]), abs(least[column]))
    }
    return (score, size)
  }

  /// The mean of rows, and that of their absolute values.
  private func mean(
    _ tensor: TensorView, _ batch: Int, _ head: Int, _ rows: Range<Int>
  ) -> (mean: [Double], size: [Double]) {
    let columns = tensor.shape.columns
    var sums = Array(repeating: 0.0, count: columns)
    var sizes = sums
    for row in rows {
      let elements = tensor.row(batch, head, row)
      for column in 0..<columns {
        sums[column] += Double(elements[column])
        sizes[column] += abs(Double(elements[column]))
      }
    }
    let count = Double(max(rows.count, 1))
    return (sums.map { $0 / count }, sizes.map { $0 / count })
  }
}
