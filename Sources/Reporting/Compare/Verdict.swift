import Choosing
import Measuring
import Records
import Statistics
import Units

/// What became of a cell between two runs, A and B.
public enum Verdict: String, CaseIterable, Codable, Sendable {
  /// B computes something else, or the same far less exactly, by the strategy's own definition.
  case wrong = "WRONG"
  /// A was measured; B failed or ran into its time limit.
  case lost = "LOST"
  /// B takes longer: beyond chance, and by the minimum effect or more.
  case slower = "SLOWER"
  /// B takes less time: beyond chance, and by the minimum effect or more.
  case faster = "FASTER"
  /// Any difference is smaller than the minimum effect.
  case same = "SAME"
  /// The samples do not decide it, or there are none to compare.
  case unclear = "UNCLEAR"

  /// Whether B is worse than A in something that A could do.
  public var isRegression: Bool {
    switch self {
    case .wrong, .lost, .slower: true
    case .faster, .same, .unclear: false
    }
  }
}
