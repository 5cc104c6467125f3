import Choosing
import Measuring
import Records
import Statistics
import Units

/// One cell of two runs, A and B, and what became of it.
public struct CellComparison: Sendable {
  /// A cell in one of the runs.
  public struct Side: Sendable {
    public let row: ResultRow
    /// How many samples it has, of all sittings.
    public let samples: Int
    /// Their median in seconds; nil without samples.
    public let median: Double?

    /// The FMA peak that the row's percentage was taken of, in 10^9 flop/s; nil when it was not
    /// measured.
    public var peak: Double? {
      guard let rate = row.work.gflopPerSecond, let percent = row.work.percentOfPeak, rate > 0,
        percent > 0
      else { return nil }
      return 100 * rate / percent
    }
  }

  /// How B differs from A.
  public struct Change: Equatable, Sendable {
    /// How many times as long B takes: the estimate of `RatioEstimate`.
    public let ratio: Double
    public let interval: ClosedRange<Double>
    /// The same ratio for the fastest sample of either run.
    public let fastestRatio: Double
    /// The probability of samples that differ as clearly by chance, in either direction and
    /// adjusted for the number of cells by `FalseDiscoveryRate`.
    public let chance: Double
  }

  /// The cell in A.
  public let a: Side
  /// The cell in B.
  public let b: Side
  /// How their times differ; nil when the samples do not give an interval.
  public let change: Change?
  /// What became of it.
  public let verdict: Verdict
  /// Why it is not plainly faster, slower or the same, with the numbers; empty otherwise.
  public let reason: String

  /// The cell's name, which is the same in both.
  public var id: String { a.row.cellID }
}
