import Attention
import MachineTopology
import Records
import Statistics
import Units

/// Compares outputs for a cell with fp64 references on some of their rows.
public final class OutputChecker {
  private let tensors: AttentionExecutor.Loaded
  private let strategy: any AttentionStrategy
  private let team: WorkerTeam

  init(_ cell: SweepCell, _ tensors: AttentionExecutor.Loaded, _ team: WorkerTeam) {
    strategy = cell.strategy
    self.tensors = tensors
    self.team = team
  }

  /// Holds an output `[b, h, nQ, dV]` to full attention, for its distance, and to the definition of
  /// the cell's strategy, for whether it is right.
  public func check(_ output: TensorView) throws(AttentionError) -> OutputCheck {
    let correctness = try compare(output)
    // Full attention does not read the strategy's own operands.
    if strategy.needsTrainedModel { return OutputCheck(quality: nil, correctness: correctness) }
    let full = tensors.fullRows ?? fullReferences()
    tensors.fullRows = full
    return OutputCheck(
      quality: tensors.check.errors(of: output, against: full), correctness: correctness,
      recall: try tensors.recall(of: strategy, on: team))
  }

  /// The errors of an output by the cell's own definition.
  public func errors(of output: TensorView) throws(AttentionError) -> RowErrors {
    try compare(output).errors
  }

  private func compare(_ output: TensorView) throws(AttentionError) -> Verification.Comparison {
    try tensors.expected(of: strategy, on: team).compare(output, tensors.check)
  }

  private func fullReferences() -> [OracleRow] {
    tensors.check.references(
      SoftmaxOracle(full: tensors.problem), tensors.values.views, on: team)
  }
}
