import Attention
import Records
import Statistics
import Units

/// What a sweep would do, for `--dry-run`: nothing is run and nothing allocated.
public struct SweepPreview: Sendable {
  /// What would become of one cell.
  public struct Line: Sendable {
    public let cell: SweepCell
    /// Tensors and workspace in bytes; nil when the strategy cannot serve the problem.
    public let memoryBytes: Int?
    /// The predicted time of one run.
    public let run: TimePrediction?
    /// `.ok` when it would be measured, otherwise how it would end.
    public let status: Status
    /// Why it would not be measured.
    public let reason: String
    /// Whether an earlier sitting has settled it: status and reason are then those of its row.
    public var isKept = false
  }

  /// One line a cell, in the order of the plan.
  public let lines: [Line]
  /// The predicted seconds of all cells that would be measured.
  public let seconds: Double

  /// Previews a plan.
  ///
  /// - Parameters:
  ///   - forecast: knows at least the peaks, and the read bandwidth where cells are bound by it; without
  ///     them there are no times.
  ///   - earlierRows: what an earlier sitting has kept, when it is to be resumed.
  public init(
    plan: SweepPlan, limits: SweepLimits, forecast: SweepForecast, earlierRows: [ResultRow] = []
  ) {
    var spent = 0.0
    var forecast = forecast
    let settled = Dictionary(
      earlierRows.filter(\.status.isSettled).map { ($0.cellID, $0) }
    ) { _, later in later }
    for cell in plan.cells {
      if let median = settled[cell.id]?.time.median { forecast.learn(cell, seconds: median) }
    }
    lines = plan.cells.map { cell in
      if let row = settled[cell.id] {
        return Line(
          cell: cell, memoryBytes: row.work.workspaceBytes.map { $0 + cell.tensorBytes }, run: nil,
          status: row.status, reason: row.reason, isKept: true)
      }
      let run = forecast.estimate(of: cell)
      func line(_ status: Status, _ reason: String, memory: Int?) -> Line {
        Line(cell: cell, memoryBytes: memory, run: run, status: status, reason: reason)
      }
      switch cell.work {
      case .failure(let error):
        return line(.error, "\(error)", memory: nil)
      case .success(let work):
        let memory = cell.tensorBytes.addingReportingOverflow(work.workspaceBytes)
        let bytes = memory.overflow ? Int.max : memory.partialValue
        if let reason = limits.memoryRefusal(of: cell) {
          return line(.skippedMemory, reason, memory: bytes)
        }
        if let run,
          let reason = limits.timeRefusal(run, budgetLeft: limits.budget.map { $0 - spent })
        {
          return line(.skippedTime, reason, memory: bytes)
        }
        spent += run.map { limits.leastCost(run: $0.seconds) } ?? 0
        return line(.ok, "", memory: bytes)
      }
    }
    seconds = spent
  }
}
