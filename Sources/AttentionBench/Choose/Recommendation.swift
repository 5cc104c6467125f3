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
  /// The candidate to run: the fastest that is admissible, or one of its family whose time cannot be
  /// told from it and that has fewer pairs to score. Nil when none was measured.
  public let choice: String?
  /// What the choice does not meet; empty when it is admissible.
  public let misses: [Requirements.Miss]
  /// Admissible candidates whose time cannot be told from that of the choice: their intervals
  /// overlap.
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
    let measured = candidates.filter { $0.seconds != nil && $0.relativeError != nil }
      .sorted { ($0.time, $0.error) < ($1.time, $1.error) }
    let others = candidates.filter { candidate in !measured.contains(candidate) }
    self.candidates = measured + others
    self.requirements = requirements
    paretoFront = ParetoFront.of(
      measured, time: \.time, error: { $0.relativeError ?? .infinity }
    ).map(\.strategy)

    let admissible = measured.filter { requirements.misses(of: $0).isEmpty }
    if let fastest = admissible.first {
      // The first of several equal medians is the luckiest; of one family, the less work is known.
      let equal = admissible.dropFirst().filter {
        $0.overlaps(fastest) && $0.family == fastest.family
      }
      let chosen = ([fastest] + equal).min { $0.work < $1.work } ?? fastest
      verdict = .admissible
      choice = chosen.strategy
      misses = []
      equallyFast = admissible.filter { $0.strategy != chosen.strategy && $0.overlaps(chosen) }
        .map(\.strategy)
      return
    }
    // The nearest is the one whose worst miss is least; of equals the fastest.
    let ranked = measured.map { (candidate: $0, misses: requirements.misses(of: $0)) }
      .map { ($0.candidate, $0.misses, worst: $0.misses.map(\.factor).max() ?? 1) }
    let nearest = ranked.min { ($0.worst, $0.0.time) < ($1.worst, $1.0.time) }
    verdict = nearest == nil ? .none : .nearestMiss
    choice = nearest?.0.strategy
    misses = nearest?.1 ?? []
    equallyFast = []
  }
}

extension Candidate {
  fileprivate var time: Double { seconds ?? .infinity }

  /// The error, with what is mere rounding levelled.
  fileprivate var error: Double {
    relativeError.map { max($0, Recommendation.roundingError) } ?? .infinity
  }

  fileprivate var work: Int { pairs ?? .max }

  fileprivate var family: Substring { strategy.prefix { $0 != "(" } }

  fileprivate func overlaps(_ other: Candidate) -> Bool {
    guard let mine = secondsInterval, let theirs = other.secondsInterval else { return false }
    return mine[0] <= theirs[1] && theirs[0] <= mine[1]
  }
}
