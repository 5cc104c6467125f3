import Attention
import Foundation
import MachineTopology

/// A recurrence with a gate, as somebody outside the package would add it: another function than
/// softmax attention, with an operand of its own.
///
/// With S `[d, dV]`, S_t = exp(g_t) S_{t-1} + k_t v_t^T over the keys that a query sees, and
/// o = scale q^T S; g is the operand `decay`. Work: 3 d dV operations a key row and 2 d dV a query row.
/// There is no denominator: LSE is 0, and -inf for a row that sees no key.
public struct GatedRecurrence: FamilyStrategy {
  /// The natural logarithm of what is kept of the state.
  public static let decay = OperandDeclaration(
    "decay", axes: [.batch, .kvHeads, .keyLength],
    meaning: "natural logarithm of what is kept of the state", domain: -Float.infinity...0
  ) { uniform in
    // Some steps forget everything.
    uniform < 0.02 ? -1e4 : Float(-0.2 * uniform)
  }

  public static let family = StrategyFamily(
    "gated", operatorClass: .different, summary: "a recurrence whose state decays",
    source: "the example in Guides/AddingAStrategy.md", operands: [decay]
  ) { _ throws(AttentionError) in GatedRecurrence() }

  public init() {}

  public func resolvedParameters(for problem: AttentionProblem) -> String { "" }

  public func work(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    let shape = problem.shape
    let state = shape.headDim * shape.valueDim
    return WorkEstimate(
      pairs: 0,
      flops: shape.batch * state
        * (3 * shape.kvHeads * shape.keyLength + 2 * shape.heads * shape.queryLength),
      minimumBytes: problem.minimumBytes, workspaceBytes: 4 * state)
  }

  public func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    guard problem.storage.isFloat32 else {
      throw AttentionError(
        .invalidArgument, argument: "elements", value: "\(problem.storage.query)",
        advice: "gated reads and writes f32")
    }
    let (visibility, scoring) = (problem.visibility, problem.scoring)
    guard visibility.mask == nil, visibility.bias == nil, visibility.alibiSlopes == nil,
      visibility.prefixLengths == nil, scoring.softcap == nil, scoring.sinkLogits == nil
    else {
      throw AttentionError(
        .invalidArgument, argument: "mask", value: "given", advice: "gated has no softmax for it")
    }
    return try GatedPlan(problem)
  }

  public func oracle(for problem: AttentionProblem) -> any AttentionOracle {
    GatedOracle(problem: problem)
  }
}

/// One worker, one head after the other, one key after the other.
private final class GatedPlan: AttentionPlan {
  let problem: AttentionProblem
  let declaredOperands = [GatedRecurrence.decay]
  /// `[d, dV]`.
  private let state: Tensor

  init(_ problem: AttentionProblem) throws(AttentionError) {
    self.problem = problem
    state = try Tensor(TensorShape(1, 1, problem.shape.headDim, problem.shape.valueDim))
  }

  var workspaceBytes: Int { 4 * state.elements.count }

  func execute(_ operands: AttentionOperands) {
    let shape = problem.shape
    for batch in 0..<shape.batch {
      for kvHead in 0..<shape.kvHeads { run(operands, batch, kvHead) }
    }
  }

  private func run(_ operands: AttentionOperands, _ batch: Int, _ kvHead: Int) {
    guard let decay = operands.inputs.named["decay"] else { return }
    let (shape, geometry) = (problem.shape, problem.geometry(batch: batch))
    let (d, dV) = (shape.headDim, shape.valueDim)
    state.elements.update(repeating: 0)
    var taken = 0
    for row in 0..<geometry.queryLength {
      // Later rows see more keys.
      let visible = geometry.visible(from: row + geometry.offset).upperBound
      while taken < visible {
        let key = operands.key.place(batch, kvHead, taken)
        let value = operands.value.place(batch, kvHead, taken)
        let kept = exp(decay.place(batch, kvHead, taken)[0])
        for i in 0..<d {
          for j in 0..<dV {
            state.elements[i * dV + j] = kept * state.elements[i * dV + j] + key[i] * value[j]
          }
        }
        taken += 1
      }
      for head in kvHead * shape.groupSize..<(kvHead + 1) * shape.groupSize {
        let query = operands.query.place(batch, head, row)
        let output = UnsafeMutablePointer(mutating: operands.output.reading.place(batch, head, row))
        for j in 0..<dV {
          var sum: Float = 0
          for i in 0..<d { sum += query[i] * state.elements[i * dV + j] }
          output[j] = problem.scale * sum
        }
        if let lse = operands.logSumExp {
          UnsafeMutablePointer(mutating: lse.reading.place(batch, head, row))[0] =
            visible == 0 ? -.infinity : 0
        }
      }
    }
  }
}

/// The definition in fp64, step by step.
private struct GatedOracle: AttentionOracle {
  let problem: AttentionProblem

  func row(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> OracleRow {
    let (shape, geometry) = (problem.shape, problem.geometry(batch: batch))
    let kvHead = head / shape.groupSize
    let visible = geometry.visible(from: row + geometry.offset)
    var output = [Double](repeating: 0, count: shape.valueDim)
    guard let decay = inputs.named["decay"], !visible.isEmpty else {
      return OracleRow(output: output, logSumExp: -.infinity)
    }
    let query = inputs.query.place(batch, head, row)
    // q^T S alone: every step is linear in S.
    for t in visible {
      let (key, value) = (inputs.key.place(batch, kvHead, t), inputs.value.place(batch, kvHead, t))
      let kept = exp(Double(decay.place(batch, kvHead, t)[0]))
      var score = 0.0
      for i in 0..<shape.headDim { score += Double(query[i]) * Double(key[i]) }
      for j in output.indices { output[j] = kept * output[j] + score * Double(value[j]) }
    }
    return OracleRow(output: output.map { Double(problem.scale) * $0 }, logSumExp: 0)
  }
}

extension TensorView {
  /// The first element of a row.
  fileprivate func place(_ batch: Int, _ head: Int, _ row: Int) -> UnsafePointer<Float> {
    base + batch * batchStride + head * headStride + row * rowStride
  }
}
