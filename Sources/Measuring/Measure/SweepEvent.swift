import Records
import Statistics
import Units

/// What a sweep tells while it runs. It prints nothing itself.
public enum SweepEvent: Sendable {
  /// The cells of a size are about to run.
  case sizeStarted(n: Int, cells: Int)
  /// A cell is being planned and run for the first time.
  case cellStarted(SweepCell)
  /// Where the sweep stands; at most ten times a second.
  case progress(SweepProgress)
  /// A cell has ended, measured or not, and its row is kept.
  case cellFinished(SweepCell, ResultRow)
  /// The machine's ceilings as measured among the cells of a size.
  case ceilings(n: Int, [MachineCeiling])
  /// Something the user should know about the measurement.
  case warning(String)
}

/// Where a sweep stands.
public struct SweepProgress: Equatable, Sendable {
  public let cell: String
  /// Its samples so far.
  public let samples: Int
  /// The median of its samples so far in seconds; nil before the first.
  public let median: Double?
  /// The relative half width of that median's interval.
  public let relativeHalfWidth: Double?
  /// Cells that have ended, those of an earlier sitting included.
  public let finishedCells: Int
  public let totalCells: Int
  /// Predicted seconds until the end; nil while nothing is known.
  public let secondsLeft: Double?
}
