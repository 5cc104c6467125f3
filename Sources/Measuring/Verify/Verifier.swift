import Attention
import MachineTopology
import Records
import Statistics
import Units

/// Holds strategies to their definitions in fp64, on sampled query rows.
///
/// Whatever n, a row costs O(nKV (d + dV)): sampling makes 100k checkable.
public struct Verifier: Sendable {
  private let team: WorkerTeam
  private let rowLimit: Int
  private let seed: UInt64
  private let memoryLimit: ByteCount

  /// A verifier that runs strategies on `team`.
  ///
  /// - Parameters:
  ///   - rowLimit: query rows checked for each strategy and problem, at least 1.
  ///   - seed: chooses the rows.
  ///   - memoryLimit: a strategy that needs more, tensors included, is skipped.
  public init(team: WorkerTeam, rowLimit: Int, seed: UInt64, memoryLimit: ByteCount) {
    self.team = team
    self.rowLimit = rowLimit
    self.seed = seed
    self.memoryLimit = memoryLimit
  }

  /// Runs a strategy on a problem and compares sampled rows with its oracle; of the exact class,
  /// with full softmax attention too.
  ///
  /// The output is filled with NaN first, so that an element the strategy forgets shows.
  ///
  /// - Parameter tensors: makes query, key, value and the operands that the strategy declares; asked
  ///   for only if there is memory for everything.
  public func verify(
    _ strategy: any AttentionStrategy, on problem: AttentionProblem,
    tensors: ([OperandDeclaration]) throws(AttentionError) -> ProblemTensors
  ) -> Verification {
    let outcome: Verification.Outcome
    do throws(AttentionError) {
      let needed = try memory(for: strategy, problem)
      outcome =
        needed > memoryLimit
        ? .skipped(needed: needed, limit: memoryLimit)
        : try compare(strategy, problem, try tensors(strategy.operands))
    } catch {
      let isUnserved =
        problem.visibility.causal && !strategy.servesCausalMasks
        || error.kind == .invalidArgument && Self.rarelyServed.contains(error.argument)
      outcome = isUnserved ? .unserved(error) : .refused(error)
    }
    return Verification(
      strategy: strategy.spec(for: problem), operatorClass: strategy.operatorClass,
      outcome: outcome)
  }

  /// What a model's layer may ask for and a strategy may say that it does not serve.
  private static let rarelyServed: Set = [
    "softcap", "sinkLogits", "windowLeft", "windowRight", "chunk",
  ]

  /// The workspace, and the tensors and what they are compared with: everything twice in fp32, and
  /// once as it is stored.
  private func memory(
    for strategy: any AttentionStrategy, _ problem: AttentionProblem
  ) throws(AttentionError) -> ByteCount {
    let work = try strategy.countedWork(for: problem, threads: team.threadCount)
    let fp32 = try problem.storing(Storage())
    // A shape's tensors are known to take less than half of what an Int can count.
    let (bytes, overflow) = work.workspaceBytes.addingReportingOverflow(
      2 * (fp32.tensorBytes + (try strategy.operands.bytes(on: problem.shape))))
    let (sum, overflowSum) = bytes.addingReportingOverflow(
      problem.storage.isFloat32 ? 0 : problem.tensorBytes)
    return ByteCount(overflow || overflowSum ? .max : sum)
  }

  private func compare(
    _ strategy: any AttentionStrategy, _ problem: AttentionProblem, _ tensors: ProblemTensors
  ) throws(AttentionError) -> Verification.Outcome {
    let stored = try tensors.stored(as: problem.storage)
    // What the elements stand for: storage is no error of a strategy.
    let tensors = try stored.stored(as: Storage())
    let result = try run(strategy, problem, stored)
    let check = AccuracyCheck(problem.shape, limit: rowLimit, seed: seed)
    let expected = try ExpectedRows(
      of: strategy, on: problem, check, tensors: tensors, seed: seed, team: team)
    let comparison = expected.compare(check.rows.map(result.row))
    return comparison.isWithinBounds ? .pass(comparison) : .fail(comparison)
  }

  private func run(
    _ strategy: any AttentionStrategy, _ problem: AttentionProblem, _ tensors: ProblemTensors
  ) throws(AttentionError) -> StrategyResult {
    let result = StrategyResult(
      output: try Tensor(problem.shape.output, elementType: problem.storage.output),
      logSumExp: try Tensor(problem.shape.logSumExp))
    result.output.poison()
    result.logSumExp.poison()
    try strategy.plan(for: problem, on: team).run(
      AttentionOperands(
        tensors.views, output: result.output.mutableView, logSumExp: result.logSumExp.mutableView))
    return result
  }
}

/// What a strategy computed.
private struct StrategyResult {
  let output: Tensor
  let logSumExp: Tensor

  func row(_ place: SampledRow) -> OracleRow {
    let shape = output.shape
    let index = (place.batch * shape.heads + place.head) * shape.rows + place.row
    return OracleRow(
      output: output.view.floats(place.batch, place.head, place.row).map(Double.init),
      logSumExp: Double(logSumExp.elements[index]))
  }
}
