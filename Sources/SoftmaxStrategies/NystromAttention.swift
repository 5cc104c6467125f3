import AttentionContract
import AttentionEngines
import AttentionKernels
import MachineTopology
import Tensors

/// Softmax attention's matrix by a product of three small ones, through landmarks: with Q~ and K~ the means of
/// m segments of queries and of keys,
///
///     softmax(Q K~^T) Z softmax(Q~ K^T) V,    Z nearly the pseudo-inverse of softmax(Q~ K~^T)
///
/// Scores are scaled in all three. Segments follow each other and differ in length by one row at most; there are
/// no more landmarks than queries or keys. Z comes of a fixed number of steps of
///
///     Z := Z (13 I - A Z (15 I - A Z (7 I - A Z))) / 4
///
/// from A^T over the product of A's largest sums of a column and of a row, in fp64. 2 n m pairs a head and O(n m)
/// operations, O(m (d + dV) + m^2) memory beside the softmax engine's.
///
/// Xiong 2021, arXiv 2102.03902.
public struct NystromAttention: LandmarkStrategy {
  public static let family = StrategyFamily(
    "nystrom", operatorClass: .different,
    summary: "softmax through landmarks, the means of segments of queries and keys; not causal",
    source: "Xiong 2021, arXiv 2102.03902",
    parameters: [
      StrategyParameter("landmarks", "segments of queries and of keys (default 64)"),
      StrategyParameter("iterations", "steps of the pseudo-inverse (default 6)"),
    ], isSweptByDefault: false, candidates: candidateSeries
  ) { arguments throws(AttentionError) in try NystromAttention(arguments) }

  public let landmarks: LandmarkShape
  private let stated: Int?

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    stated = try arguments.integer("landmarks", atLeast: 1)
    landmarks = LandmarkShape(
      landmarks: stated ?? 64,
      iterations: try arguments.integer("iterations", atLeast: 1) ?? 6)
  }

  public func excess(for problem: AttentionProblem) -> AttentionError? {
    let shape = problem.shape
    return excess(
      "landmarks", stated, of: min(shape.queryLength, shape.keyLength), "rows to make them of")
  }

  public func resolvedParameters(for problem: AttentionProblem) -> String {
    "\(landmarks.landmarks)"
      + (landmarks.iterations == 6 ? "" : ", iterations: \(landmarks.iterations)")
  }

  /// From a few landmarks to as many as cost a quarter of full attention's pairs.
  private static func candidateSeries(
    _ problem: AttentionProblem, _ density: SearchDensity
  ) -> [[String]] {
    let shape = problem.shape
    if problem.visibility.causal { return [] }
    return [
      density.sizes(from: 8, through: min(shape.queryLength, shape.keyLength) / 8)
        .map { "\(family.name)(\($0))" }
    ].filter { !$0.isEmpty }
  }
}
