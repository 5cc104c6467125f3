import Attention
import AttentionBench
import MachineTopology

/// A strategy whose result is there already: what other ranks computed, held to the same definition and
/// bounds as if this process had.
struct GatheredStrategy: AttentionStrategy {
  let base: any AttentionStrategy
  let output: Tensor
  let logSumExp: Tensor

  var name: String { base.name }
  var operatorClass: OperatorClass { base.operatorClass }
  var arithmetic: Arithmetic { base.arithmetic }
  var keyValueStorage: ElementType? { base.keyValueStorage }
  var operands: [OperandDeclaration] { base.operands }
  var usesBLAS: Bool { base.usesBLAS }
  var dependsOnHeadNumbers: Bool { base.dependsOnHeadNumbers }
  var selectsKeys: Bool { base.selectsKeys }
  var servesCausalMasks: Bool { base.servesCausalMasks }
  var laterRowsDecide: Bool { base.laterRowsDecide }
  var queryReach: QueryReach { base.queryReach }
  var keepsState: Bool { base.keepsState }

  func resolvedParameters(for problem: AttentionProblem) -> String {
    base.resolvedParameters(for: problem)
  }

  func work(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    try base.work(for: problem, threads: threads)
  }

  func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    GatheredPlan(problem, operands: base.operands, output: output, logSumExp: logSumExp)
  }

  func pattern(for geometry: MaskGeometry) -> any KeyPattern { base.pattern(for: geometry) }
  func oracle(for problem: AttentionProblem) -> any AttentionOracle { base.oracle(for: problem) }
  func arithmeticOracle(for problem: AttentionProblem) -> any AttentionOracle {
    base.arithmeticOracle(for: problem)
  }
  func roundingOracle(
    for problem: AttentionProblem, draw: UInt64
  ) -> (any AttentionOracle)? { base.roundingOracle(for: problem, draw: draw) }
  func fullOracle(for problem: AttentionProblem) -> any AttentionOracle {
    base.fullOracle(for: problem)
  }
}

private final class GatheredPlan: AttentionPlan {
  let problem: AttentionProblem
  let declaredOperands: [OperandDeclaration]
  let workspaceBytes = 0
  private let output: Tensor
  private let logSumExp: Tensor

  init(
    _ problem: AttentionProblem, operands: [OperandDeclaration], output: Tensor, logSumExp: Tensor
  ) {
    self.problem = problem
    declaredOperands = operands
    self.output = output
    self.logSumExp = logSumExp
  }

  func execute(_ operands: AttentionOperands) {
    let shape = problem.shape
    for (source, target) in [(output, operands.output), (logSumExp, operands.logSumExp)] {
      guard let target else { continue }
      for batch in 0..<shape.batch {
        for head in 0..<shape.heads {
          let rows = source.headRows(batch, head)
          for row in 0..<rows.rows {
            let to =
              target.base + batch * target.reading.batchStride + head * target.reading.headStride
              + row * target.reading.rowStride
            to.update(from: rows.base + row * rows.columns, count: rows.columns)
          }
        }
      }
    }
  }
}
