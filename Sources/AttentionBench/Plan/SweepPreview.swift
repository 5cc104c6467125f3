import Attention

/// What a sweep would do, for `--dry-run`: nothing is run and nothing allocated.
public struct SweepPreview: Sendable {
  /// What would become of one cell.
  public struct Line: Sendable {
    /// The cell.
    public let cell: SweepCell
    /// Tensors and workspace in bytes; nil when the strategy cannot serve the problem.
    public let memoryBytes: Int?
    /// The predicted time of one run.
    public let run: TimePrediction?
    /// `.ok` when it would be measured, otherwise how it would end.
    public let status: Status
    /// Why it would not be measured.
    public let reason: String
  }

  /// One line a cell, in the order of the plan.
  public let lines: [Line]
  /// The predicted seconds of all cells that would be measured.
  public let seconds: Double

  /// Previews a plan.
  ///
  /// - Parameter forecast: knows at least the FMA peaks; without them there are no times.
  public init(plan: SweepPlan, limits: SweepLimits, forecast: SweepForecast) {
    var spent = 0.0
    lines = plan.cells.map { cell in
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
