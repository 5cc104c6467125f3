import Measuring
import Records
import Statistics
import Units

/// A strategy for each query head, and what that brings over one strategy for all.
public struct PerHeadRecommendation: Codable, Equatable, Sendable {
  /// The choice for one head.
  public struct Head: Codable, Equatable, Sendable {
    public let head: Int
    /// The cheapest strategy whose error on this head is small enough, or the one with the least
    /// error where there is none.
    public let strategy: String
    /// Relative L2 distance from full attention over the head's checked rows, in the run of the
    /// mix; its upper limit where rows were sampled.
    public let relativeError: Double
    /// The measured time of the strategy on one head alone, with all workers on it.
    public let secondsAlone: Double
    /// That time as a share of the sum over all heads.
    public let timeShare: Double
    /// Whether the error is small enough.
    public let isAdmissible: Bool
    /// What is certain about the error over all rows of the head; nil where nothing was certified.
    public internal(set) var certificate: MassCertificate?
    /// Of a restricted strategy the mean share of full attention's mass on the keys that it keeps, over
    /// sampled rows of the head.
    public internal(set) var massKept: Double?
    /// Likewise the mean share of the true top keys, as many as it keeps, that it keeps.
    public internal(set) var topKeysFound: Double?
    /// The mean mass of as many keys of each row, the best ones.
    public internal(set) var bestMass: Double?
    /// The share of what these hold beyond keys drawn by lot that the keys kept hold.
    public internal(set) var gainRealised: Double?

    private enum CodingKeys: String, CodingKey {
      case head
      case strategy
      case relativeError = "rel_l2_error"
      case secondsAlone = "time_alone_s"
      case timeShare = "time_share"
      case isAdmissible = "admissible"
      case certificate
      case massKept = "mass_kept"
      case topKeysFound = "top_keys_found"
      case bestMass = "best_mass"
      case gainRealised = "gain_realised"
    }
  }

  /// The choice of one strategy for all heads, each of which must keep to the error.
  public let single: Recommendation
  /// The choice for each head, in the order of the heads.
  public internal(set) var heads: [Head]
  /// The mix as it was run and timed.
  public let mix: Candidate
  /// The single strategy, timed in the same rounds as the mix; nil where none could be.
  public let singleBeside: Candidate?
  /// What the mix does not meet: memory or time, or an error on some head.
  public let misses: [Requirements.Miss]
  /// The strategy of each head in what should be run: the mix, or the single strategy where that
  /// was admissible and no slower.
  public let plan: [String]

  /// The time of the single strategy over that of the mix; nil without a single one.
  public var speedup: Double? {
    guard let mix = mix.seconds, let single = singleBeside?.seconds, mix > 0 else { return nil }
    return single / mix
  }

  /// Whether the plan is the mix.
  public var usesMix: Bool { plan == heads.map(\.strategy) }

  /// The same choice, with what each head's strategy keeps of full attention.
  ///
  /// - Parameter recalls: one for each head; nil where there is nothing to say.
  public func adding(_ recalls: [Recall?]) -> PerHeadRecommendation {
    var result = self
    for (index, recall) in zip(result.heads.indices, recalls) {
      result.heads[index].massKept = recall?.massKept
      result.heads[index].topKeysFound = recall?.topKeysFound
      result.heads[index].bestMass = recall?.bestMass
      result.heads[index].gainRealised = recall?.gainRealised
    }
    return result
  }

  private enum CodingKeys: String, CodingKey {
    case single
    case heads
    case mix
    case singleBeside = "single_beside_mix"
    case misses
    case plan
  }
}
