import AttentionContract
import AttentionEngines
import AttentionKernels
import RealModule
import Tensors

/// Linear attention by its quadratic form in fp64:
/// o = sum_j (phi(q) . phi(k_j)) v_j / (sum_j phi(q) . phi(k_j) + epsilon), phi(x) = elu(x) + 1.
public struct LinearOracle: AttentionOracle {
  private let problem: AttentionProblem

  /// An oracle for a problem; its scale plays no part.
  public init(_ problem: AttentionProblem) { self.problem = problem }

  public func row(
    _ inputs: InputViews, batch: Int, head: Int, row: Int
  ) -> OracleRow {
    let shape = problem.shape
    let kvHead = head / shape.groupSize
    let geometry = problem.geometry(batch: batch)
    let visible = geometry.visible(from: row + geometry.offset)
    var output = [Double](repeating: 0, count: shape.valueDim)
    if visible.isEmpty { return OracleRow(output: output, logSumExp: -.infinity) }
    let q = inputs.query.row(batch, head, row)
    let features = (0..<shape.headDim).map { LinearOracle.feature(Double(q[$0])) }
    var normaliser = 0.0
    for j in visible {
      let k = inputs.key.row(batch, kvHead, j)
      var weight = 0.0
      for t in features.indices { weight += features[t] * LinearOracle.feature(Double(k[t])) }
      normaliser += weight
      let v = inputs.value.row(batch, kvHead, j)
      for c in output.indices { output[c] += weight * Double(v[c]) }
    }
    for c in output.indices { output[c] /= normaliser + LinearStateLayout.epsilon }
    return OracleRow(output: output, logSumExp: Double.log(normaliser))
  }

  /// elu(x) + 1.
  private static func feature(_ x: Double) -> Double { x > 0 ? x + 1 : Double.exp(x) }
}
