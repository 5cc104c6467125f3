import Records
import Statistics
import Units

/// How long and how large a sweep may get, and how exact its medians shall be.
public struct SweepLimits: Sendable {
  /// The order of the cells in a round.
  public enum Order: String, Sendable, CaseIterable {
    /// Shuffled by the seed, anew each round.
    case random
    /// As planned, for debugging.
    case serial
  }

  /// Samples a cell shall have at least.
  public var minimumSamples = 5
  /// Whether a cell gets so many whatever they take; `cellTimeout` limits the others.
  public var guaranteesMinimum = false
  /// The half width of the median's 95% interval that is good enough, as a share of the median.
  public var relativeInterval = 0.02
  /// The most a cell may spend on measuring, in seconds.
  public var cellTimeout = 60.0
  /// The most the whole sweep may take, in seconds; nil without a limit.
  public var budget: Double?
  /// The most that tensors and workspaces may hold at once, in bytes.
  public var memoryBytes = Int.max
  /// The order of the cells in a round.
  public var order = Order.random
  /// Whether cells that are measured together go on until the last of them is known well enough: for
  /// small differences between them, which a machine whose speed changes would otherwise add to.
  public var endsTogether = false
  /// How `--cell-timeout`, `--budget`, `--max-memory` and `--rel-ci` were written, for messages.
  public var wording = Wording()

  /// The limits as the user wrote them.
  public struct Wording: Sendable {
    /// The value of `--cell-timeout`.
    public var cellTimeout = "60s"
    /// The value of `--budget`.
    public var budget = "none"
    /// The value of `--max-memory`.
    public var memory = "80%"
    /// The value of `--rel-ci`.
    public var relativeInterval = "2%"

    public init() {}
  }

  /// No cell gets more samples than this.
  public static let maximumSamples = 200
  /// A first run that takes longer than this, in seconds, is no warm-up but a sample: plans touch
  /// their workspace when they are made, and caches hold none of so long a run's beginning.
  public static let warmUpLimit = 5.0
  /// However little is left of the budget, a cell that has been started may measure for this long,
  /// in seconds.
  public static let leastAllowance = 1.0

  /// The defaults: 5 samples, 2%, 60 s a cell, no budget.
  public init() {}

  /// The seconds a cell costs at least when one run takes `run` seconds: its warm-up and the fewest
  /// samples, as far as its time goes.
  public func leastCost(run: Double) -> Double {
    let warmUp = run > Self.warmUpLimit ? 0 : run
    return warmUp + run * Double(affordableSamples(run: run))
  }

  private func affordableSamples(run: Double) -> Int {
    guard run > 0, cellTimeout / run < Double(minimumSamples) else { return minimumSamples }
    return max(1, Int(cellTimeout / run))
  }

  /// Why a cell's tensors and workspace are too much, with the numbers; nil when they are not.
  public func memoryRefusal(of cell: SweepCell) -> String? {
    guard case .success(let work) = cell.work else { return nil }
    let (needed, overflow) = cell.tensorBytes.addingReportingOverflow(work.workspaceBytes)
    guard overflow || needed > memoryBytes else { return nil }
    let parts =
      "workspace \(ByteCount(work.workspaceBytes).rounded) + tensors "
      + ByteCount(cell.tensorBytes).rounded
    let sum = overflow ? "more than can be addressed" : ByteCount(needed).rounded
    return "needs \(sum) (\(parts)) > --max-memory \(wording.memory)"
      + (wording.memory.hasSuffix("%") ? " = \(ByteCount(memoryBytes).rounded)" : "")
  }

  /// Why a cell that takes `prediction` for one run is not worth starting; nil when it is.
  ///
  /// - Parameter budgetLeft: seconds; nil without a budget.
  public func timeRefusal(_ prediction: TimePrediction, budgetLeft: Double?) -> String? {
    let time = TimeSpan.rounded(seconds: prediction.seconds)
    if prediction.seconds > cellTimeout, !guaranteesMinimum {
      return "predicted \(time) > --cell-timeout \(wording.cellTimeout) (\(prediction.basis))"
    }
    if let budgetLeft, prediction.seconds > budgetLeft {
      let left = budgetLeft > 0 ? TimeSpan.rounded(seconds: budgetLeft) : "0 s"
      return "predicted \(time) > \(left) left of "
        + "--budget \(wording.budget) (\(prediction.basis))"
    }
    return nil
  }
}
