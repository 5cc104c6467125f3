import AttentionContract
import RealModule
import Tensors

/// Native sparse attention by its definition in fp64.
struct NativeSparseOracle: AttentionOracle {
  private let problem: AttentionProblem
  private let shape: NativeSparseShape
  /// Of one head, where all rows are of that.
  private var means: Means?

  /// Of a key/value head's blocks.
  private struct Means: Sendable {
    var keys: [[Double]]
    var values: [[Double]]
  }

  init(_ problem: AttentionProblem, _ shape: NativeSparseShape) {
    (self.problem, self.shape) = (problem, shape)
  }

  func prepared(_ inputs: InputViews, batch: Int, head: Int) -> any AttentionOracle {
    var prepared = self
    prepared.means = means(inputs, batch, head / problem.shape.groupSize)
    return prepared
  }

  func row(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> OracleRow {
    Row(self, inputs, batch, head, row).outputs(mostExchanges: 0)[0]
  }

  /// One for each block that may as well be kept: where the best score that is left out lies within roundings of
  /// the worst that is kept, either is right.
  func admissible(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> [OracleRow] {
    Row(self, inputs, batch, head, row).outputs(mostExchanges: 15)
  }

  private func means(_ inputs: InputViews, _ batch: Int, _ kvHead: Int) -> Means {
    let keyLength = problem.geometry(batch: batch).keyLength
    func means(_ tensor: TensorView) -> [[Double]] {
      (0..<shape.blockCount(keyLength)).map { block in
        let keys = shape.keys(of: block, keyLength: keyLength)
        var sums = [Double](repeating: 0, count: tensor.shape.columns)
        for key in keys {
          let row = tensor.row(batch, kvHead, key)
          for column in sums.indices { sums[column] += Double(row[column]) }
        }
        return sums.map { $0 / Double(keys.count) }
      }
    }
    return Means(keys: means(inputs.key), values: means(inputs.value))
  }

  /// What a row sees, block by block and key by key as it is written down.
  private struct Seen {
    let visible: Range<Int>
    /// Blocks that are seen compressed, that are kept in any case, and that compete.
    let ended: [Int]
    let always: [Int]
    let candidates: [Int]
    /// How many of those are kept.
    let limit: Int
    let window: [Int]

    init(_ shape: NativeSparseShape, _ position: Int, _ geometry: MaskGeometry) {
      let (size, causal) = (shape.block, geometry.causal)
      let visible = geometry.visible(from: position)
      let blocks = (0..<geometry.keyLength).filter { $0 % size == 0 }.map { $0 / size }
      let reached = blocks.filter { visible.contains($0 * size) }
      ended = blocks.filter { !causal || ($0 + 1) * size <= position + 1 }
      let always = reached.filter { block in
        block < shape.first
          || position >= 0 && (position / size - shape.local + 1...position / size).contains(block)
      }
      candidates = reached.filter { block in
        !always.contains(block) && (!causal || position >= 0 && block < position / size)
      }
      limit = min(max(shape.top - always.count, 0), candidates.count)
      window = visible.filter { key in
        let distance = position - key
        return causal
          ? distance < shape.window : abs(distance) <= shape.window / 2
      }
      (self.visible, self.always) = (visible, always)
    }
  }

  /// One row of one head.
  private struct Row {
    private let problem: AttentionProblem
    private let shape: NativeSparseShape
    private let inputs: InputViews
    private let (batch, head, row): (Int, Int, Int)
    private let geometry: MaskGeometry
    private let seen: Seen
    private let means: Means

    init(
      _ oracle: NativeSparseOracle, _ inputs: InputViews, _ batch: Int, _ head: Int, _ row: Int
    ) {
      problem = oracle.problem
      shape = oracle.shape
      self.inputs = inputs
      (self.batch, self.head, self.row) = (batch, head, row)
      geometry = problem.geometry(batch: batch)
      seen = Seen(shape, row + geometry.offset, geometry)
      means = oracle.means ?? oracle.means(inputs, batch, head / problem.shape.groupSize)
    }

    private var kvHead: Int { head / problem.shape.groupSize }

    private func query(_ head: Int) -> [Double] {
      let elements = inputs.query.row(batch, head, row)
      return (0..<problem.shape.headDim).map { Double(elements[$0]) }
    }

    private typealias Scored = (block: Int, score: Double)

    /// The blocks that compete, the best first, and what roundings of their scores are relative to.
    private func ranking() -> (scored: [Scored], size: Double) {
      let group = problem.shape.groupSize
      let scale = Double(problem.scale)
      var size = 0.0
      let logarithms = (kvHead * group..<(kvHead + 1) * group).map { member in
        let query = query(member)
        let scores = means.keys.map { key in
          var (sum, sizes) = (0.0, 0.0)
          for column in query.indices {
            sum += query[column] * key[column]
            sizes += abs(query[column] * key[column])
          }
          size = max(size, abs(scale) * sizes)
          return scale * sum
        }
        let ended = seen.ended.map { scores[$0] }
        let largest = ended.reduce(-Double.infinity) { max($0, $1) }
        let sum = ended.reduce(0) { $0 + Double.exp($1 - largest) }
        return scores.map { $0 - largest - Double.log(sum) }
      }
      let scored = seen.candidates.map { block -> Scored in
        let values = logarithms.map { $0[block] }
        let largest = values.reduce(-Double.infinity) { max($0, $1) }
        let sum = values.reduce(0) { $0 + Double.exp($1 - largest) }
        let score = largest + Double.log(sum)
        return (block, values.contains(where: \.isNaN) || score.isNaN ? .infinity : score)
      }
      return (
        scored.sorted { $0.score > $1.score || $0.score == $1.score && $0.block < $1.block }, size
      )
    }

    func outputs(mostExchanges: Int) -> [OracleRow] {
      let zeros = [Double](repeating: 0, count: problem.shape.valueDim)
      if seen.visible.isEmpty { return [OracleRow(output: zeros, logSumExp: -.infinity)] }
      let own = query(head)
      let key = { (index: Int) in inputs.key.row(batch, kvHead, index) }
      let value = { (index: Int) in inputs.value.row(batch, kvHead, index) }
      let compressed = softmax(
        seen.ended.map { index in zip(own, means.keys[index]).reduce(0) { $0 + $1.0 * $1.1 } }
      ) { means.values[$0] }
      func attend(_ keys: [Int]) -> [Double] {
        softmax(
          keys.map { index in
            let row = key(index)
            var sum = 0.0
            for column in own.indices { sum += own[column] * Double(row[column]) }
            return sum
          }
        ) { index in
          let row = value(keys[index])
          return zeros.indices.map { Double(row[$0]) }
        }
      }
      let window = attend(seen.window)
      let gate = inputs.named[NativeSparseLayout.gateName]?.row(batch, head, row)
      let gates = (0..<3).map { Double(gate?[$0] ?? .nan) }
      func output(_ chosen: [Int]) -> OracleRow {
        let selected = attend(
          (seen.always + chosen).flatMap {
            shape.keys(of: $0, keyLength: geometry.keyLength).clamped(to: seen.visible)
          })
        return OracleRow(
          output: zeros.indices.map {
            gates[0] * compressed[$0] + gates[1] * selected[$0] + gates[2] * window[$0]
          }, logSumExp: 0)
      }
      if seen.limit == 0 { return [output([])] }
      let (scored, size) = ranking()
      let kept = Array(scored.prefix(seen.limit))
      var outputs = [output(kept.map(\.block))]
      guard let worst = kept.last else { return outputs }
      // A sum of d products in fp32, of means of as many terms as a block has keys, and what the sum over heads
      // adds to it.
      let terms =
        Double(problem.shape.headDim).squareRoot() + Double(shape.block).squareRoot() + 8
      let limit = 0x1p-24 * terms * max(size, 1)
      for (block, score) in scored.dropFirst(kept.count) where worst.score - score <= limit {
        for (other, held) in kept where held - worst.score <= limit {
          if outputs.count > mostExchanges { return outputs }
          outputs.append(output(kept.map(\.block).filter { $0 != other } + [block]))
        }
      }
      return outputs
    }

    /// Softmax of products over values; 0 of none.
    private func softmax(_ products: [Double], _ value: (Int) -> [Double]) -> [Double] {
      var output = [Double](repeating: 0, count: problem.shape.valueDim)
      let scores = products.map { Double(problem.scale) * $0 }
      let largest = scores.reduce(-Double.infinity) { max($0, $1) }
      let weights = scores.map { Double.exp($0 - largest) }
      let sum = weights.reduce(0, +)
      for (index, weight) in weights.enumerated() {
        let row = value(index)
        for column in output.indices { output[column] += weight / sum * row[column] }
      }
      return output
    }
  }
}
