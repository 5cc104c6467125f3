import AttentionContract
import AttentionEngines
import AttentionKernels
import MachineTopology
import RealModule
import Tensors

/// The attention that machine translation began with: scores v . tanh(Wq q + Wk k) of a small network with
/// one hidden layer, softmax and the weighted sum of values. The scale is 1 unless given.
///
/// Queries and keys are projected once, 2 n d hidden operations a head each; a pair costs a tanh a hidden unit.
///
/// Bahdanau 2014, arXiv 1409.0473.
public struct AdditiveAttention: ProjectedStrategy {
  public static let family = StrategyFamily(
    "additive", operatorClass: .different,
    summary: "scores of a hidden layer, v . tanh(Wq q + Wk k)",
    source: "Bahdanau 2014, arXiv 1409.0473",
    parameters: [StrategyParameter("hidden", "units of the hidden layer (default 128)")],
    operands: declarations(hidden: defaultHidden), isSweptByDefault: false
  ) { arguments throws(AttentionError) in
    AdditiveAttention(
      hidden: try arguments.integer("hidden", atLeast: 1, atMost: 1 << 16) ?? defaultHidden)
  }

  private static let defaultHidden = 128

  private let hidden: Int

  init(hidden: Int) { self.hidden = hidden }

  public var operands: [OperandDeclaration] { Self.declarations(hidden: hidden) }

  /// Random weights make hidden units of about the spread of the inputs, and scores of about 1.
  private static func declarations(hidden: Int) -> [OperandDeclaration] {
    let units = OperandAxis.parameter("hidden", hidden)
    return [
      .weights(
        "additive_q", axes: [.size(1), .heads, units, .headDim], meaning: "hidden units of a query",
        terms: { $0.headDim }),
      .weights(
        "additive_k", axes: [.size(1), .kvHeads, units, .headDim], meaning: "hidden units of a key",
        terms: { $0.headDim }),
      .weights(
        "additive_v", axes: [.size(1), .heads, units],
        meaning: "weight of a hidden unit in the score",
        terms: { _ in hidden }),
    ]
  }

  public func projection(for problem: AttentionProblem) -> ScoreProjection {
    let operands = operands
    return ScoreProjection(
      additive: hidden, query: operands[0], key: operands[1], weights: operands[2])
  }

  public func resolvedParameters(for problem: AttentionProblem) -> String { "\(hidden)" }

  public func oracle(for problem: AttentionProblem) -> any AttentionOracle {
    let (scale, group) = (Double(problem.scoring.scale ?? 1), problem.shape.groupSize)
    return SoftmaxOracle(
      problem,
      rule: { inputs, batch, head, row in
        guard let query = inputs.named["additive_q"], let key = inputs.named["additive_k"],
          let weights = inputs.named["additive_v"]
        else { return { _ in .nan } }
        let a = query.product(head, inputs.query.row(batch, head, row))
        return { j in
          let b = key.product(head / group, inputs.key.row(batch, head / group, j))
          return scale
            * a.indices.reduce(0) {
              $0 + Double(weights.row(0, head, $1)[0]) * Double.tanh(a[$1] + b[$1])
            }
        }
      }, pattern: { pattern(for: $0) })
  }
}
