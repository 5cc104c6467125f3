import Measuring
import Records
import Statistics
import Units

/// Where the error of a candidate has to be small enough.
public enum ChoiceGoal: Hashable, Sendable {
  /// Over all rows of all heads.
  case whole
  /// On each head, and so over all.
  case everyHead
  /// On one query head.
  case head(Int)

  /// The error that counts.
  public func estimate(in errors: HeadErrors) -> HeadErrors.Estimate {
    switch self {
    case .whole: errors.whole
    case .everyHead: errors.worstHead
    case .head(let head): errors.heads[head]
    }
  }
}
