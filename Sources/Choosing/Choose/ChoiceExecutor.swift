import Attention
import MachineTopology
import Measuring
import Records
import Statistics
import Units

/// How the rows are taken on which errors are measured.
public enum ErrorRows: Equatable, Sendable {
  /// All rows where full attention can be run on them, otherwise as many as fp64 can afford.
  case automatic
  /// So many of each head of each batch entry, in fp64.
  case perHead(Int)
}

/// An executor that also says how far outputs lie from full attention: what a choice needs.
public protocol ChoiceExecutor: CellExecutor {
  /// Computes full attention for the loaded problem, if that was not done before.
  ///
  /// - Parameter exact: a strategy that may do so on all rows; nil where none is affordable. One whose
  ///   output fp64 does not confirm is not believed.
  /// - Returns: why the strategy was not believed; nil where it was, or was not asked.
  /// - Throws: when memory is refused.
  func prepareReference(
    rows: ErrorRows, exact: (any AttentionStrategy)?, placement: SweepPlacement, seed: UInt64
  ) throws -> String?
  /// Marks the whole output as not written, so that what a cell leaves out shows.
  func clearOutput() throws
  /// How far the output of the last run is from full attention.
  func headErrors() throws -> HeadErrors
}

extension AttentionExecutor: ChoiceExecutor {
  public func prepareReference(
    rows: ErrorRows, exact: (any AttentionStrategy)?, placement: SweepPlacement, seed: UInt64
  ) throws -> String? {
    let tensors = try loadedTensors()
    if tensors.reference != nil { return nil }
    let team = try team(of: placement)
    let problem = try tensors.problem.storing(Storage())
    var fault: String?
    if rows == .automatic, !FullReference.isAffordable(problem.shape), let exact {
      switch try FullReference.computed(
        by: exact, problem, seed: seed, tensors: try tensors.values(for: exact), team: team)
      {
      case .success(let reference):
        tensors.reference = reference
        return nil
      case .failure(let wrong):
        fault =
          "\(exact.spec(for: problem)) is not what errors are measured against: \(wrong.fault); fp64 "
          + "on sampled rows is instead"
      }
    }
    let count: Int? = if case .perHead(let count) = rows { count } else { nil }
    tensors.reference = FullReference(
      problem, rowsPerHead: count, seed: seed, tensors: tensors.values, team: team)
    return fault
  }

  public func clearOutput() throws {
    try loadedTensors().output.poison()
  }

  public func headErrors() throws -> HeadErrors {
    let tensors = try loadedTensors()
    guard let reference = tensors.reference else { throw ExecutorError.noReference }
    let output = tensors.output
    if output.elementType == .float32 { return reference.errors(of: output.view) }
    let wide = try Tensor(copying: output.view)
    return reference.errors(of: wide.view)
  }
}
