import Attention
import MachineTopology

/// Compares outputs for a cell with fp64 references on some of their rows.
public final class OutputCheck {
  private let tensors: AttentionExecutor.Loaded
  private let team: WorkerTeam
  /// What the cell's definition gives for the checked rows.
  private lazy var references = references(oracle)
  private let oracle: any AttentionOracle

  init(_ cell: SweepCell, _ tensors: AttentionExecutor.Loaded, _ team: WorkerTeam) {
    oracle = cell.strategy.oracle(for: cell.problem)
    self.tensors = tensors
    self.team = team
  }

  /// The distances of an output `[b, h, nQ, dV]` from full attention and from the definition.
  public func accuracy(of output: TensorView) -> ResultRow.Accuracy {
    let full = tensors.fullRows ?? references(SoftmaxOracle(full: tensors.problem))
    tensors.fullRows = full
    let quality = tensors.check.errors(of: output, against: full)
    var accuracy = ResultRow.Accuracy()
    accuracy.relativeL2 = quality.relativeL2
    accuracy.maximumAbsolute = quality.maximum
    accuracy.rowsChecked = tensors.check.rows.count
    accuracy.oracleRelativeL2 = errors(of: output).relativeL2
    return accuracy
  }

  /// The errors of an output by the cell's own definition.
  public func errors(of output: TensorView) -> RowErrors {
    tensors.check.errors(of: output, against: references)
  }

  private func references(_ oracle: any AttentionOracle) -> [OracleRow] {
    tensors.check.references(
      oracle, query: tensors.values.query.view, key: tensors.values.key.view,
      value: tensors.values.value.view, on: team)
  }
}
