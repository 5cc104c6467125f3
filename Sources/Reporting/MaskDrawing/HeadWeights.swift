import Attention
import Choosing
import Measuring
import RealModule
import Records
import Statistics
import Units

/// Softmax weights of one head, row by row, in fp64.
///
/// - Complexity: O(nKV d) a row.
struct HeadWeights {
  let query: TensorView
  let key: TensorView
  let batch: Int
  let head: Int
  private let kvHead: Int
  private let scale: Double
  private let softcap: Double?
  private let sinkLogit: Double
  private let geometry: MaskGeometry

  /// The keys that the mask leaves visible to the row computed last.
  private(set) var visible = 0..<0
  /// Their weights, which sum to `total`.
  private(set) var weights: [Double] = []
  /// 1, less what a sink logit takes.
  private(set) var total = 0.0

  init(_ problem: AttentionProblem, query: TensorView, key: TensorView, batch: Int, head: Int) {
    self.query = query
    self.key = key
    self.batch = batch
    self.head = head
    kvHead = head / problem.shape.groupSize
    scale = Double(problem.scale)
    softcap = problem.scoring.softcap.map(Double.init)
    sinkLogit = problem.scoring.sinkLogits.map { Double($0[head]) } ?? -.infinity
    geometry = problem.geometry(batch: batch)
  }

  /// Computes a row.
  ///
  /// - Returns: whether it has weights: not when it sees no key or its scores are not numbers.
  mutating func compute(row: Int) -> Bool {
    visible = geometry.visible(from: row + geometry.offset)
    weights.removeAll(keepingCapacity: true)
    let q = query.row(batch, head, row)
    var maximum = -Double.infinity
    for j in visible {
      var score = scale * dot(q, key.row(batch, kvHead, j), query.shape.columns)
      if let softcap { score = softcap * Double.tanh(score / softcap) }
      weights.append(score)
      maximum = max(maximum, score)
    }
    guard maximum.isFinite else { return false }
    maximum = max(maximum, sinkLogit)
    let sink = Double.exp(sinkLogit - maximum)
    var sum = sink
    for index in weights.indices {
      weights[index] = Double.exp(weights[index] - maximum)
      sum += weights[index]
    }
    for index in weights.indices { weights[index] /= sum }
    total = (sum - sink) / sum
    // Where all but the sink vanishes, nothing is left to have a share of.
    return sum.isFinite && total > 0
  }
}
