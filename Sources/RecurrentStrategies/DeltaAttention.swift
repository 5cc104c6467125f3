import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// The delta rule: a state that is corrected towards each value instead of added to.
///
/// S_t = S_{t-1} + beta_t k_t (v_t - S_{t-1}^T k_t)^T, o_t = scale q_t^T S_t, with beta an operand. With keys of
/// length 1 and beta 1 what was stored at a key is replaced.
///
/// Schlag 2021, arXiv 2102.11174; Yang 2024, arXiv 2406.06484.
public struct DeltaAttention: RecurrentStrategy {
  public static let family = StrategyFamily(
    "delta", operatorClass: .different,
    summary: "linear attention by the delta rule: a key's old value makes room for the new one",
    source: "Yang 2024, arXiv 2406.06484", parameters: [.normalise],
    operands: [.beta(hasUnitKeys: false), .state]
  ) { arguments throws(AttentionError) in try DeltaAttention(arguments) }

  private let normalise: UnitLength

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    normalise = try arguments.choice("normalise") ?? .none
  }

  public var operands: [OperandDeclaration] { [.beta(hasUnitKeys: normalise == .l2), .state] }

  public func resolvedParameters(for problem: AttentionProblem) -> String { normalise.text }

  public func recurrence(for shape: AttentionShape) -> RecurrenceShape {
    RecurrenceShape(erases: true)
  }

  public func mapFeatures(
    _ row: UnsafeMutablePointer<Float>, headDim: Int, kernels: KernelTable
  ) { normalise.map(row, headDim, kernels) }

  public func take(_ token: RecurrentToken) { DeltaRule.take(token, beta: 0) }

  public func defineFeatures(_ row: inout [Double]) { normalise.define(&row) }

  public func define(_ token: inout RecurrentDefinition) { DeltaRule.define(&token, beta: 0) }
}

/// The delta rule after a decay.
///
/// S' = exp(g_t) S_{t-1}, S_t = S' + beta_t k_t (v_t - S'^T k_t)^T, o_t = scale q_t^T S_t, with operands `decay` and
/// `beta`: a decay a token and head (Gated DeltaNet, in Qwen3-Next), or one a channel of the key (KDA, in
/// Kimi Linear).
///
/// Yang 2024, arXiv 2412.06464; Kimi Team 2025, arXiv 2510.26692.
public struct GatedDeltaAttention: RecurrentStrategy {
  public static let family = StrategyFamily(
    "gated_delta", operatorClass: .different, summary: "the delta rule on a state that decays",
    source: "Yang 2024, arXiv 2412.06464; Kimi Team 2025, arXiv 2510.26692",
    parameters: [.decay, .normalise],
    operands: [.decay(perChannel: false), .beta(hasUnitKeys: false), .state]
  ) { arguments throws(AttentionError) in try GatedDeltaAttention(arguments) }

  private let gate: DecayGate
  private let normalise: UnitLength

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    gate = try arguments.choice("decay") ?? .head
    normalise = try arguments.choice("normalise") ?? .none
  }

  public var operands: [OperandDeclaration] {
    [gate.operand, .beta(hasUnitKeys: normalise == .l2), .state]
  }

  public func resolvedParameters(for problem: AttentionProblem) -> String {
    gate.rawValue + (normalise == .none ? "" : ", \(normalise.text)")
  }

  public func recurrence(for shape: AttentionShape) -> RecurrenceShape {
    RecurrenceShape(decay: gate.decay, erases: true)
  }

  public func mapFeatures(
    _ row: UnsafeMutablePointer<Float>, headDim: Int, kernels: KernelTable
  ) { normalise.map(row, headDim, kernels) }

  public func take(_ token: RecurrentToken) {
    gate.take(token, gate: 0)
    DeltaRule.take(token, beta: 1)
  }

  public func defineFeatures(_ row: inout [Double]) { normalise.define(&row) }

  public func define(_ token: inout RecurrentDefinition) {
    gate.define(&token, gate: 0)
    DeltaRule.define(&token, beta: 1)
  }
}

/// What the delta rules have in common: erase = beta k, and beta v is written.
private enum DeltaRule {
  static func take(_ token: RecurrentToken, beta gate: Int) {
    guard let beta = token.gate(gate)?.pointee else { return }
    for column in 0..<token.headDim { token.erase[column] = beta * token.key[column] }
    for column in 0..<token.valueDim { token.value[column] *= beta }
  }

  static func define(_ token: inout RecurrentDefinition, beta gate: Int) {
    let beta = token.gates[gate]?.first ?? 0
    for i in token.erase.indices { token.erase[i] = beta * token.key[i] }
    for i in token.value.indices { token.value[i] *= beta }
  }
}

/// Whether queries and keys are brought to length 1: x / sqrt(|x|^2 + 1e-6).
enum UnitLength: String, CaseIterable {
  case none
  case l2

  var text: String { self == .none ? "" : "normalise: \(rawValue)" }

  func map(_ row: UnsafeMutablePointer<Float>, _ headDim: Int, _ kernels: KernelTable) {
    if self == .none { return }
    var sum: Float = 0
    for column in 0..<headDim { sum += row[column] * row[column] }
    kernels.functions.pointee.scale_row(row, Int64(headDim), 1 / (sum + 1e-6).squareRoot())
  }

  func define(_ row: inout [Double]) {
    if self == .none { return }
    let length = (row.reduce(0) { $0 + $1 * $1 } + 1e-6).squareRoot()
    for i in row.indices { row[i] /= length }
  }
}
