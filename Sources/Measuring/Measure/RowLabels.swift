import Attention
import Records
import Statistics
import Units

/// What every row of a run says alike, and how a row is made of a cell.
public struct RowLabels: Sendable {
  public let runID: String
  /// The code that runs.
  public let build: ResultRow.Build

  public init(runID: String, build: ResultRow.Build) {
    self.runID = runID
    self.build = build
  }

  /// A row with everything that is known before a cell runs.
  package func row(for cell: SweepCell, status: Status, reason: String) -> ResultRow {
    let shape = cell.problem.shape
    var row = ResultRow(
      runID: runID, cellID: cell.id,
      strategy: cell.runner.label,
      shape: ResultRow.Shape(
        batch: shape.batch, heads: shape.heads, kvHeads: shape.kvHeads,
        queryLength: shape.queryLength, keyLength: shape.keyLength,
        headDimension: shape.headDim, valueDimension: shape.valueDim,
        elementType: cell.runner.elementType, isCausal: cell.problem.visibility.causal),
      placement: ResultRow.Placement(
        threads: cell.placement.threads, bind: "\(cell.placement.binding)"),
      status: status, reason: reason, build: cell.runner.build ?? build)
    row.sweptSize = cell.n
    row.arithmetic = cell.runner.arithmetic
    row.pass = cell.pass
    if case .success(let work) = cell.work {
      row.work.pairs = work.pairs
      row.work.flops = work.flops
      row.work.minimumBytes = work.minimumBytes
      row.work.workspaceBytes = work.workspaceBytes
    }
    return row
  }
}

extension ResultRow {
  /// Enters what was measured.
  ///
  /// - Parameter flopRate: the peak of the cell's arithmetic, measured with the same placement, in flop/s.
  package mutating func fill(
    _ measurement: CellMeasurement, flopRate: Double?, workspaceBytes: Int?
  ) {
    work.workspaceBytes = workspaceBytes
    guard let summary = measurement.summary else { return }
    time = Times(summary, cpuTime: measurement.cpuTime)
    disturbance.stealPercent = measurement.stealPercent
    disturbance.involuntaryContextSwitches = measurement.involuntarySwitches
    guard let flops = work.flops, summary.median > 0 else { return }
    let rate = Double(flops) / summary.median
    work.gflopPerSecond = rate / 1e9
    work.percentOfPeak = flopRate.map { 100 * rate / $0 }
  }
}
