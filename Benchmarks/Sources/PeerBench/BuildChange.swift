import AttentionBench

/// How this build compares with another one on one piece of work or one kernel, from rounds in which
/// both took their turns.
public struct BuildChange: Sendable {
  /// What can be said of the time.
  public enum Verdict: String, Sendable {
    /// The whole interval lies above what is allowed.
    case slower
    /// It lies below.
    case notSlower = "not slower"
    /// It holds what is allowed, or there is none.
    case unclear
    /// One of the two was not measured.
    case notMeasured = "not measured"
  }

  /// A time of more than this of the other build's is slower.
  public static let allowedRatio = 1.03

  /// Work, strategy and threads.
  public let name: String
  /// This build's time over the other's; nil where one is missing.
  public let ratio: RatioEstimate?
  /// What that means.
  public let verdict: Verdict
  /// Whether both gave the same bits; nil where one gave none.
  public let hasSameBits: Bool?

  /// A change for each cell of the other build.
  static func all(
    _ kinds: [PeerComparison.Kind], samples: [SampleRow], hasSameBits: [String: Bool]
  ) -> [BuildChange] {
    let times = Dictionary(grouping: samples, by: \.cellID).mapValues { $0.map(\.time) }
    return kinds.flatMap { kind in
      let measured = Set(kind.rows.filter(\.status.isMeasured).map(\.cellID))
      return kind.plan.compared.filter { $0.implementation.side == .before }.map { before in
        let after = kind.plan.compared.first { one in
          one.implementation.side == .own && one.strategy == before.strategy
            && one.work.name == before.work.name && one.cell.placement == before.cell.placement
        }
        func known(_ id: String?) -> [Double] {
          id.flatMap { measured.contains($0) ? times[$0] : nil } ?? []
        }
        return BuildChange(
          name: "\(before.work.name), \(before.strategy), "
            + "\(before.cell.placement.threads) threads",
          before: known(before.cell.id), after: known(after?.cell.id),
          hasSameBits: hasSameBits[before.cell.id])
      }
    }
  }

  /// Compares samples of both.
  public init(name: String, before: [Double], after: [Double], hasSameBits: Bool?) {
    self.name = name
    self.hasSameBits = hasSameBits
    ratio = RatioEstimate(after, over: before)
    verdict =
      if let interval = ratio?.interval {
        interval.lowerBound > Self.allowedRatio
          ? .slower : interval.upperBound <= Self.allowedRatio ? .notSlower : .unclear
      } else {
        ratio == nil ? .notMeasured : .unclear
      }
  }

  /// Changes as a table in Markdown.
  public static func table(_ changes: [BuildChange]) -> String {
    var text =
      "| work | time, after / before | 95 % interval | | same bits |\n|---|--:|--:|---|---|\n"
    for change in changes {
      let ratio = change.ratio.map { CompactNumber.decimals($0.ratio, 3) } ?? "-"
      let interval =
        change.ratio?.interval.map {
          "\(CompactNumber.decimals($0.lowerBound, 3)) to \(CompactNumber.decimals($0.upperBound, 3))"
        } ?? "-"
      let bits = change.hasSameBits.map { $0 ? "yes" : "no" } ?? "-"
      text += "| \(change.name) | \(ratio) | \(interval) | \(change.verdict.rawValue) | \(bits) |\n"
    }
    return text
  }
}
