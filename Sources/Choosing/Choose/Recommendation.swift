import Measuring
import Records
import Statistics
import Units

/// Which of the measured candidates to run.
public struct Recommendation: Codable, Equatable, Sendable {
  /// How firm a choice is.
  public enum Verdict: String, Codable, Sendable {
    /// The fastest candidate that meets every requirement.
    case admissible
    /// No candidate meets them all; this one comes nearest.
    case nearestMiss = "nearest_miss"
    /// No candidate was measured.
    case none
  }

  /// All candidates, the measured ones first, fastest first.
  public internal(set) var candidates: [Candidate]
  /// The candidates than which none is both faster and nearer to full attention, fastest first.
  public let paretoFront: [String]
  public let requirements: Requirements
  /// How firm the choice is.
  public let verdict: Verdict
  /// The candidate to run. Of the admissible ones whose time cannot be told from that of the fastest:
  /// an exact one before all others, then the one that loses less, then the one with the plainest
  /// parameters. Nil when none was measured.
  public let choice: String?
  /// What the choice does not meet; empty when it is admissible.
  public let misses: [Requirements.Miss]
  /// The other admissible candidates whose time cannot be told from that of the fastest.
  public let equallyFast: [String]

  private enum CodingKeys: String, CodingKey {
    case candidates
    case paretoFront = "pareto_front"
    case requirements
    case verdict
    case choice
    case misses
    case equallyFast = "equally_fast"
  }

  /// Errors below this are rounding, and differences between them mean nothing.
  public static let roundingError = 1e-5

  /// Chooses among measured rows.
  public init(_ rows: [ResultRow], requirements: Requirements) {
    self.init(candidates: rows.map { Candidate($0) }, requirements: requirements)
  }

  init(candidates: [Candidate], requirements: Requirements) {
    let measured = candidates.filter { $0.seconds != nil }
      .sorted { ($0.sortTime, $0.error) < ($1.sortTime, $1.error) }
    let others = candidates.filter { candidate in !measured.contains(candidate) }
    self.candidates = measured + others
    self.requirements = requirements
    paretoFront = ParetoFront.of(
      measured, time: \.sortTime, error: { $0.relativeError ?? .infinity }
    ).map(\.strategy)

    let admissible = measured.filter { requirements.misses(of: $0).isEmpty }
    if let fastest = admissible.first {
      // The first of several equal medians is only the luckiest.
      let equal = admissible.filter { $0.isAsFast(as: fastest) }
      let chosen = equal.min { $0.isBetter(than: $1) } ?? fastest
      verdict = .admissible
      choice = chosen.strategy
      misses = []
      equallyFast = equal.map(\.strategy).filter { $0 != chosen.strategy }
      return
    }
    // The nearest is the one whose worst miss is least; of equals the fastest.
    let ranked = measured.map { (candidate: $0, misses: requirements.misses(of: $0)) }
      .map { ($0.candidate, $0.misses, worst: $0.misses.map(\.factor).max() ?? 1) }
    let nearest = ranked.min { ($0.worst, $0.0.sortTime) < ($1.worst, $1.0.sortTime) }
    verdict = nearest == nil ? .none : .nearestMiss
    choice = nearest?.0.strategy
    misses = nearest?.1 ?? []
    equallyFast = []
  }
}

extension Candidate {
  fileprivate var sortTime: Double { seconds ?? .infinity }

  /// The error, with what is mere rounding levelled.
  fileprivate var error: Double {
    relativeError.map { max($0, Recommendation.roundingError) } ?? .infinity
  }

  /// Whether this cannot be told from the fastest in time.
  fileprivate func isAsFast(as fastest: Candidate) -> Bool {
    guard let mine = time, let theirs = fastest.time else { return false }
    return !theirs.isClearlyFaster(than: mine)
  }

  /// What to prefer among equally fast ones.
  fileprivate func isBetter(than other: Candidate) -> Bool {
    (isExact ? 0 : 1, error, plainness, pairs ?? .max, sortTime)
      < (other.isExact ? 0 : 1, other.error, other.plainness, other.pairs ?? .max, other.sortTime)
  }

  private var isExact: Bool { operatorClass == "exact" }

  /// How many parameters are written.
  private var plainness: Int {
    strategy.contains("(") ? strategy.count { $0 == "," } + 1 : 0
  }
}
