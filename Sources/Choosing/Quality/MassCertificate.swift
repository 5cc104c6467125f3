import Measuring
import Records
import Statistics
import Units

/// What is certain about a restricted strategy's error on one problem, over every query row.
public struct MassCertificate: Codable, Equatable, Sendable {
  /// An upper bound on the relative L2 error over all rows of an output in fp32: what `rel_l2_error`
  /// samples, but for the rounding of an output that is stored in fewer bits. Nil where nothing can
  /// be said, as where a visible input is not finite.
  public let relativeL2Bound: Double?
  /// The largest bound of a row, on the L2 distance of its output from full attention's; nil where
  /// a row has none, which takes inputs that are not finite.
  public let worstRowBound: Double?
  /// The mean over all rows of the share of full attention's mass that the kept keys hold, a lower
  /// bound.
  public let meanMassKept: Double
  /// The least share of a row.
  public let leastMassKept: Double
  /// How many rows: all of them.
  public let rowCount: Int

  private enum CodingKeys: String, CodingKey {
    case relativeL2Bound = "rel_l2_bound"
    case worstRowBound = "max_row_l2_bound"
    case meanMassKept = "mass_kept_mean"
    case leastMassKept = "mass_kept_min"
    case rowCount = "rows"
  }

  /// Sums up the bounds of all rows.
  ///
  /// Full attention's output O is known along a few directions only. With B the norm of all bounds
  /// it is no shorter than |O_S| - B, nor than the norm N of what is known of its rows, so that
  ///
  ///     |O - O_S| / |O| <= B / max(|O_S| - B, N)
  ///
  /// - Parameter rows: one bound a query row.
  public init(_ rows: [RowBound]) {
    var squaredBound = 0.0
    var squaredOutput = 0.0
    var squaredFull = 0.0
    var worst = 0.0
    var kept = 0.0
    var least = 1.0
    for row in rows {
      squaredBound += row.distance * row.distance
      squaredOutput += row.outputNorm * row.outputNorm
      squaredFull += row.fullNorm * row.fullNorm
      worst = max(worst, row.distance)
      kept += row.massKept
      least = min(least, row.massKept)
    }
    let bound = squaredBound.squareRoot()
    let full = max(squaredOutput.squareRoot() - bound, squaredFull.squareRoot())
    // A sum of n squares in fp64 is off by n 1e-16 at most: 1e-9 covers ten million rows.
    let ratio = bound / full * (1 + 1e-9)
    relativeL2Bound = bound == 0 ? 0 : full > 0 && ratio.isFinite ? ratio : nil
    worstRowBound = worst.isFinite ? worst : nil
    meanMassKept = rows.isEmpty ? 1 : kept / Double(rows.count)
    leastMassKept = least
    rowCount = rows.count
  }
}
