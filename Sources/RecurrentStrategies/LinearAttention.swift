import AttentionContract
import AttentionEngines
import AttentionKernels
import CAttentionKernels
import RealModule
import Tensors

/// Linear attention: the softmax kernel replaced by a product of feature maps.
///
/// o_i = phi(q_i)^T S_i / (phi(q_i)^T z_i + 1e-6), S_i = sum_j phi(k_j) v_j^T, z_i = sum_j phi(k_j) over the
/// keys that query i sees; without the normaliser scale phi(q_i)^T S_i. S and z are sums over the keys, so
/// work is O(n m dV) instead of O(n^2), m being d or the number of random features. Another function of Q, K
/// and V than softmax attention; with the normaliser the scale plays no part in it but for `favor`, which
/// approximates softmax attention of that scale.
///
/// LSE is the natural logarithm of phi(q_i)^T z_i, 0 without the normaliser.
///
/// Katharopoulos 2020, arXiv 2006.16236; `favor`: Choromanski 2020, arXiv 2009.14794.
public struct LinearAttention: RecurrentStrategy {
  public static let family = StrategyFamily(
    "linear", operatorClass: .different,
    summary: "kernelised attention: a product of feature maps, O(n) work",
    source: "Katharopoulos 2020, arXiv 2006.16236; favor: Choromanski 2020, arXiv 2009.14794",
    parameters: [
      StrategyParameter(
        "phi",
        "the feature map: elu (x + 1 or exp x, the default), relu, identity, or favor (random features)"
      ),
      StrategyParameter(
        "normalise",
        "whether outputs are divided by the sum of the weights: true (default but for identity) or false"
      ),
      StrategyParameter("features", "favor: how many random features (default 2 d)"),
      StrategyParameter("seed", "favor: of the random features (default 1)"),
    ], operands: [.state]
  ) { arguments throws(AttentionError) in try LinearAttention(arguments) }

  private enum FeatureMap: String, CaseIterable {
    case elu
    case relu
    case identity
    case favor
  }

  private enum Choice: String, CaseIterable {
    case yes = "true"
    case no = "false"
  }

  private let map: FeatureMap
  private let normalises: Bool
  private let features: Int?
  private let seed: Int
  private var projections: RandomProjections?

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    map = try arguments.choice("phi") ?? .elu
    let choice: Choice? = try arguments.choice("normalise")
    normalises = choice.map { $0 == .yes } ?? (map != .identity)
    features = try arguments.integer("features", atLeast: 1)
    seed = try arguments.integer("seed", atLeast: 0) ?? 1
    if map != .favor {
      for label in ["features", "seed"] {
        guard let text = arguments.text(label) else { continue }
        throw AttentionError(
          .invalidArgument, argument: "linear \(label)", value: text,
          advice: "is for random features: write linear(favor, \(label): \(text)), or leave it out")
      }
    }
  }

  /// Where outputs are divided the sum of the keys belongs to a state, and with random features it is not
  /// `[d, dV]`: none can be given then.
  public var operands: [OperandDeclaration] { normalises || map == .favor ? [] : [.state] }

  public func resolvedParameters(for problem: AttentionProblem) -> String {
    var text = map.rawValue
    if normalises != (map != .identity) { text += ", normalise: \(normalises)" }
    if map == .favor { text += ", features: \(count(problem.shape)), seed: \(seed)" }
    return text
  }

  private func count(_ shape: AttentionShape) -> Int { features ?? 2 * shape.headDim }

  public func recurrence(for shape: AttentionShape) -> RecurrenceShape {
    RecurrenceShape(normalises: normalises, features: map == .favor ? count(shape) : nil)
  }

  public func prepared(for problem: AttentionProblem) -> LinearAttention {
    if map != .favor { return self }
    var prepared = self
    prepared.projections = RandomProjections(
      count: count(problem.shape), headDim: problem.shape.headDim,
      scale: Double(problem.outputScale),
      seed: UInt64(seed))
    return prepared
  }

  public func mapFeatures(
    _ row: UnsafeMutablePointer<Float>, headDim: Int, kernels: KernelTable
  ) {
    switch map {
    case .elu: kernels.functions.pointee.elu_plus_one(row, Int64(headDim), row)
    case .relu:
      // NaN stays NaN.
      for column in 0..<headDim where row[column] < 0 { row[column] = 0 }
    case .identity: break
    case .favor: projections?.map(row)
    }
  }

  public func mapFeatures(
    _ rows: UnsafeMutablePointer<Float>, count: Int, stride: Int, headDim: Int,
    kernels: KernelTable
  ) {
    if map == .identity { return }
    if map == .elu, stride == headDim {
      return kernels.functions.pointee.elu_plus_one(rows, Int64(count * stride), rows)
    }
    for row in 0..<count { mapFeatures(rows + row * stride, headDim: headDim, kernels: kernels) }
  }

  public func take(_ token: RecurrentToken) {}

  public func take(_ tokens: RecurrentTokens) {}

  public func defineFeatures(_ row: inout [Double]) {
    switch map {
    case .elu: for i in row.indices { row[i] = row[i] > 0 ? row[i] + 1 : Double.exp(row[i]) }
    case .relu: for i in row.indices where row[i] < 0 { row[i] = 0 }
    case .identity: break
    case .favor: row = projections?.features(of: row) ?? row
    }
  }

  public func define(_ token: inout RecurrentDefinition) {}
}
