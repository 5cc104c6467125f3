import AttentionContract
import Tensors

/// Softmax over blocks that a selection keeps, by the definition in fp64.
struct SelectedOracle: AttentionOracle {
  private let problem: AttentionProblem
  private let selection: BlockSelection

  init(_ problem: AttentionProblem, _ selection: BlockSelection) {
    (self.problem, self.selection) = (problem, selection)
  }

  func row(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> OracleRow {
    let choice = choice(inputs, batch, head, row)
    return softmax(inputs, batch, head, row, blocks: choice.kept)
  }

  func keptKeys(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> [Int]? {
    softmax(blocks: choice(inputs, batch, head, row).kept)
      .keptKeys(inputs, batch: batch, head: head, row: row)
  }

  /// One for each block that may as well be kept: where the best score that is left out lies within
  /// roundings of the worst that is kept, either is right.
  func admissible(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> [OracleRow] {
    let choice = choice(inputs, batch, head, row)
    var rows = [softmax(inputs, batch, head, row, blocks: choice.kept)]
    guard let worst = choice.worst else { return rows }
    // A sum of d products in fp32, of means of as many terms as a block has keys.
    let terms = Double(problem.shape.headDim).squareRoot() + Double(selection.block).squareRoot()
    let limit = 0x1p-24 * (terms + 4) * choice.size
    for (block, score) in choice.left where worst.score - score <= limit {
      for (other, held) in choice.competing where held - worst.score <= limit {
        let blocks = choice.kept.filter { $0 != other } + [block]
        rows.append(softmax(inputs, batch, head, row, blocks: blocks))
        if rows.count == Self.mostAdmissible { return rows }
      }
    }
    return rows
  }

  /// Of a row whose scores are so close that more may be exchanged the first must do.
  private static let mostAdmissible = 16

  private typealias Scored = (block: Int, score: Double)

  private struct Choice {
    /// All blocks kept.
    var kept: [Int]
    /// Those of them that had to compete, the worst of them, and those that lost.
    var competing: [Scored]
    var worst: Scored?
    var left: [Scored]
    /// What roundings of scores are relative to.
    var size: Double
  }

  private func choice(_ inputs: InputViews, _ batch: Int, _ head: Int, _ row: Int) -> Choice {
    let geometry = problem.geometry(batch: batch)
    let group = selection.group(row / selection.rows, under: geometry)
    let kvHead = head / problem.shape.groupSize
    let query = mean(inputs.query, batch, head, group.rows)
    let sign = problem.scale < 0 ? -1.0 : 1.0
    var size = 0.0
    var scored: [Scored] = []
    for block in Array(group.before) + Array(group.after) {
      let keys = selection.keys(of: block, keyLength: geometry.keyLength)
      let key = mean(inputs.key, batch, kvHead, keys)
      let score = sign * zip(query.mean, key.mean).reduce(0) { $0 + $1.0 * $1.1 }
      size = max(size, zip(query.size, key.size).reduce(0) { $0 + $1.0 * $1.1 })
      scored.append((block, score.isNaN ? .infinity : score))
    }
    scored.sort { $0.score > $1.score || $0.score == $1.score && $0.block < $1.block }
    let competing = Array(scored.prefix(selection.kept(of: group)))
    return Choice(
      kept: Array(group.own) + competing.map(\.block), competing: competing,
      worst: competing.last, left: Array(scored.dropFirst(competing.count)), size: size)
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

  private func softmax(
    _ inputs: InputViews, _ batch: Int, _ head: Int, _ row: Int, blocks: [Int]
  ) -> OracleRow {
    softmax(blocks: blocks).row(inputs, batch: batch, head: head, row: row)
  }

  private func softmax(blocks: [Int]) -> SoftmaxOracle {
    let kept = Set(blocks)
    let block = selection.block
    return SoftmaxOracle(problem) { KeptBlocks(geometry: $0, block: block, kept: kept) }
  }
}

/// The keys of some blocks, whoever looks: for one row of an oracle.
private struct KeptBlocks: KeyPattern {
  let geometry: MaskGeometry
  let block: Int
  let kept: Set<Int>

  func includes(position: Int, key: Int) -> Bool {
    geometry.visible(from: position).contains(key) && kept.contains(key / block)
  }

  var rowStrides: [Int] { [1] }

  func sequences(pass: Int, residue: Int) -> [KeySequence] {
    [KeySequence(0..<geometry.keyLength)]
  }

  /// What is kept is no range; oracles ask `includes`.
  func range(pass: Int, sequence index: Int, position: Int) -> Range<Int> {
    geometry.visible(from: position)
  }
}
