import AttentionContract
import AttentionEngines
import AttentionKernels
import MachineTopology
import RealModule
import Tensors

/// Luong's local attention with a predictive alignment: a query looks around the position
/// p = S sigmoid(v . tanh(W q)), S being the number of keys that it may see, at most `w` keys away, and the
/// weights of the softmax over these are multiplied by exp(-(s - p)^2 / (2 sigma^2)), sigma = w / 2, without
/// being normalised again. About 2 n w pairs a head, and n hidden (2 d + 2) operations for predictions.
///
/// Luong 2015, arXiv 1508.04025 ("local-p").
public struct LocalPredictive: FamilyStrategy {
  public static let family = StrategyFamily(
    "local_p", operatorClass: .different,
    summary: "a window and a Gaussian around a position that the query predicts",
    source: "Luong 2015, arXiv 1508.04025",
    parameters: [
      StrategyParameter("w", "keys to each side of the predicted position (default 10)"),
      StrategyParameter("hidden", "units of the prediction (default 64)"),
    ], operands: declarations(hidden: defaultHidden), isSweptByDefault: false
  ) { arguments throws(AttentionError) in
    LocalPredictive(
      width: try arguments.integer("w", atLeast: 1) ?? 10,
      hidden: try arguments.integer("hidden", atLeast: 1, atMost: 1 << 16) ?? defaultHidden)
  }

  private static let defaultHidden = 64

  private let width: Int
  private let hidden: Int

  init(width: Int, hidden: Int) { (self.width, self.hidden) = (width, hidden) }

  public var operands: [OperandDeclaration] { Self.declarations(hidden: hidden) }

  private static func declarations(hidden: Int) -> [OperandDeclaration] {
    let units = OperandAxis.parameter("hidden", hidden)
    return [
      .weights(
        "local_w", axes: [.size(1), .heads, units, .headDim], meaning: "units of the prediction",
        terms: { $0.headDim }),
      .weights(
        "local_v", axes: [.size(1), .heads, units], meaning: "weight of a unit in the prediction",
        terms: { _ in hidden }),
    ]
  }

  private var window: PredictedWindow {
    let operands = operands
    return PredictedWindow(
      width: width, hidden: hidden, weights: operands[0], direction: operands[1])
  }

  public func resolvedParameters(for problem: AttentionProblem) -> String {
    "\(width), hidden: \(hidden)"
  }

  public var selectsKeys: Bool { true }

  public func work(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    try PredictedPlan.work(for: problem, window, threads: threads)
  }

  public func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    try PredictedPlan(problem, window, team: team)
  }

  public func oracle(for problem: AttentionProblem) -> any AttentionOracle {
    PredictedOracle(problem: problem, width: width)
  }
}

/// The definition in fp64.
private struct PredictedOracle: AttentionOracle {
  let problem: AttentionProblem
  let width: Int

  func row(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> OracleRow {
    admissible(inputs, batch: batch, head: head, row: row)[0]
  }

  /// With and without a key that lies at an end of the window to within roundings of the prediction.
  func admissible(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> [OracleRow] {
    let geometry = problem.geometry(batch: batch)
    let visible = geometry.visible(from: row + geometry.offset)
    let position = position(inputs, batch: batch, head: head, row: row, among: visible.count)
    guard !position.isNaN || visible.isEmpty else {
      return [
        OracleRow(
          output: [Double](repeating: .nan, count: problem.shape.valueDim), logSumExp: .nan)
      ]
    }
    let (first, last) = (position - Double(width), position + Double(width))
    let rounding = 0x1p-40 * Double(visible.count + width)
    var (lowers, uppers) = ([first.rounded(.up)], [last.rounded(.down)])
    if abs(first - first.rounded()) <= rounding {
      lowers.append(lowers[0] == first.rounded() ? lowers[0] + 1 : first.rounded())
    }
    if abs(last - last.rounded()) <= rounding {
      uppers.append(uppers[0] == last.rounded() ? uppers[0] - 1 : last.rounded())
    }
    return lowers.flatMap { lower in
      uppers.map { upper in
        SoftmaxOracle(
          problem,
          discount: { key in
            let distance = (Double(key) - position) / (Double(width) / 2)
            return Double.exp(-distance * distance / 2)
          },
          pattern: { KeysBetween(geometry: $0, first: lower, last: upper) }
        ).row(inputs, batch: batch, head: head, row: row)
      }
    }
  }

  private func position(
    _ inputs: InputViews, batch: Int, head: Int, row: Int, among count: Int
  ) -> Double {
    guard let weights = inputs.named["local_w"], let direction = inputs.named["local_v"] else {
      return .nan
    }
    let units = weights.product(head, inputs.query.row(batch, head, row))
    let sum = units.indices.reduce(0.0) {
      $0 + Double(direction.row(0, head, $1)[0]) * Double.tanh(units[$1])
    }
    return Double(count) / (1 + Double.exp(-sum))
  }
}

/// Keys between two places, whoever looks: for one row of an oracle.
private struct KeysBetween: KeyPattern {
  let geometry: MaskGeometry
  let first: Double
  let last: Double

  func includes(position: Int, key: Int) -> Bool {
    geometry.visible(from: position).contains(key) && first <= Double(key) && Double(key) <= last
  }

  var rowStrides: [Int] { [1] }

  func sequences(pass: Int, residue: Int) -> [KeySequence] {
    [KeySequence(0..<geometry.keyLength)]
  }

  /// Oracles ask `includes`.
  func range(pass: Int, sequence index: Int, position: Int) -> Range<Int> {
    geometry.visible(from: position)
  }
}
