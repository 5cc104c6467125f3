import Attention
import RealModule

/// Softmax attention as a textbook writes it, all in fp32: scores, maximum, exponentials, weighted
/// sum. Its error against fp64 is the yardstick for that of the strategies.
public struct NaiveSoftmax: Sendable {
  private let problem: AttentionProblem
  private let patterns: [any KeyPattern]

  /// Naive attention under a pattern, which may differ from batch entry to batch entry.
  public init(_ problem: AttentionProblem, pattern: (MaskGeometry) -> any KeyPattern) {
    self.problem = problem
    patterns = (0..<problem.shape.batch).map { pattern(problem.geometry(batch: $0)) }
  }

  /// One row of the output and its LSE.
  public func row(
    _ inputs: TestInputs, batch: Int, head: Int, row: Int
  ) -> (output: [Float], logSumExp: Float) {
    let shape = problem.shape
    let kvHead = head / shape.groupSize
    let position = row + patterns[batch].geometry.offset
    let q = inputs.query[batch, head, row]
    var output = [Float](repeating: 0, count: shape.valueDim)
    let keys = (0..<shape.keyLength).filter {
      patterns[batch].includes(position: position, key: $0) && isVisible($0, batch, head, row)
    }
    if keys.isEmpty { return (output, -.infinity) }
    var weights = keys.map { key in
      let k = inputs.key[batch, kvHead, key]
      var score: Float = 0
      for t in 0..<shape.headDim { score += q[t] * k[t] }
      score *= problem.scale
      score = problem.scoring.softcap.map { $0 * Float.tanh(score / $0) } ?? score
      if let bias = problem.visibility.bias { score += bias.row(batch, head, row)[key] }
      if let slopes = problem.visibility.alibiSlopes {
        score -= slopes[head] * Float(abs(position - key))
      }
      return score
    }
    var maximum = weights.reduce(-Float.infinity) { $1 > $0 ? $1 : $0 }
    if maximum == -.infinity, !weights.contains(where: \.isNaN) { return (output, -.infinity) }
    let sink = problem.scoring.sinkLogits.map { $0[head] } ?? -.infinity
    maximum = max(maximum, sink)
    var sum = Float.exp(sink - maximum)
    for index in weights.indices {
      weights[index] = Float.exp(weights[index] - maximum)
      sum += weights[index]
    }
    for (key, weight) in zip(keys, weights) {
      let v = inputs.value[batch, kvHead, key]
      for c in output.indices { output[c] += weight * v[c] }
    }
    for c in output.indices { output[c] /= sum }
    return (output, maximum + Float.log(sum))
  }

  private func isVisible(_ key: Int, _ batch: Int, _ head: Int, _ row: Int) -> Bool {
    if let mask = problem.visibility.mask,
      key >= mask.shape.columns || mask.row(batch, head, row)[key] == 0
    {
      return false
    }
    if let bias = problem.visibility.bias {
      return key < bias.shape.columns && bias.row(batch, head, row)[key] != -.infinity
    }
    return true
  }
}
