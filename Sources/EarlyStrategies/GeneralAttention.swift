import AttentionContract
import AttentionEngines
import AttentionKernels
import MachineTopology
import Tensors

/// Softmax attention with a weight matrix a head between query and key, scores q^T W k. The scale is 1 unless
/// given. Queries are projected once, 2 n d^2 operations a head.
///
/// Luong 2015, arXiv 1508.04025 ("general").
public struct GeneralAttention: ProjectedStrategy {
  static let matrix = OperandDeclaration.weights(
    "general_w", axes: [.size(1), .heads, .headDim, .headDim],
    meaning: "what stands between query (rows) and key (columns)",
    terms: { $0.headDim * $0.headDim })

  public static let family = StrategyFamily(
    "general", operatorClass: .different,
    summary: "softmax with a weight matrix between query and key, q^T W k",
    source: "Luong 2015, arXiv 1508.04025", operands: [matrix], isSweptByDefault: false
  ) { _ throws(AttentionError) in GeneralAttention() }

  public func projection(for problem: AttentionProblem) -> ScoreProjection {
    ScoreProjection(bilinear: Self.matrix, for: problem)
  }

  public func resolvedParameters(for problem: AttentionProblem) -> String { "" }

  public func oracle(for problem: AttentionProblem) -> any AttentionOracle {
    let (scale, shape) = (Double(problem.scoring.scale ?? 1), problem.shape)
    return SoftmaxOracle(
      problem,
      rule: { inputs, batch, head, row in
        guard let matrix = inputs.named[Self.matrix.name] else { return { _ in .nan } }
        let query = inputs.query.row(batch, head, row)
        var projected = [Double](repeating: 0, count: shape.headDim)
        for i in 0..<shape.headDim {
          let weights = matrix.row(0, head, i)
          for j in projected.indices { projected[j] += Double(query[i]) * Double(weights[j]) }
        }
        let vector = projected
        return { j in
          let key = inputs.key.row(batch, head / shape.groupSize, j)
          return scale * vector.indices.reduce(0) { $0 + vector[$1] * Double(key[$1]) }
        }
      }, pattern: { pattern(for: $0) })
  }
}
