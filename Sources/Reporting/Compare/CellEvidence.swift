import Choosing
import Measuring
import Records
import Statistics
import Units

/// What two runs know of one cell, before it is weighed against the other cells.
struct CellEvidence {
  /// What can be said of the times.
  enum Times {
    /// They can be compared.
    case estimate(RatioEstimate, interval: ClosedRange<Double>, fastest: Double)
    /// They cannot: the verdict and why.
    case none(Verdict, reason: String)
  }

  let a: CellComparison.Side
  let b: CellComparison.Side
  let times: Times

  var estimate: RatioEstimate? {
    if case .estimate(let estimate, _, _) = times { estimate } else { nil }
  }

  init(
    _ a: (row: ResultRow, times: [Double]), _ b: (row: ResultRow, times: [Double]),
    metric: ComparisonRules.Metric, distributions: inout RankSumDistributions
  ) {
    self.a = Self.side(a)
    self.b = Self.side(b)
    times = Self.compare(
      (self.a, a.times), (self.b, b.times), metric: metric, distributions: &distributions)
  }

  private static func side(_ cell: (row: ResultRow, times: [Double])) -> CellComparison.Side {
    CellComparison.Side(
      row: cell.row, samples: cell.times.count, median: SampleSummary(cell.times)?.median)
  }

  private static func compare(
    _ a: (side: CellComparison.Side, times: [Double]),
    _ b: (side: CellComparison.Side, times: [Double]), metric: ComparisonRules.Metric,
    distributions: inout RankSumDistributions
  ) -> Times {
    if let unmeasured = unmeasured(a.side, b.side) { return unmeasured }
    guard !a.times.isEmpty, !b.times.isEmpty else {
      return .none(.unclear, reason: "no samples in \(a.times.isEmpty ? "A" : "B")'s samples.csv")
    }
    var factor = 1.0
    if metric == .percentOfPeak {
      guard let peakA = a.side.peak, let peakB = b.side.peak else {
        return .none(
          .unclear,
          reason: "no FMA peak was measured beside it in \(a.side.peak == nil ? "A" : "B")")
      }
      factor = peakB / peakA
    }
    let independent = (a: IndependentCount.of(a.times), b: IndependentCount.of(b.times))
    let estimate = RatioEstimate(
      b.times.map { $0 * factor }, over: a.times, confidence: ComparisonRules.confidence,
      distribution: distributions[independent.a, independent.b])
    guard let estimate else {
      return .none(.unclear, reason: "a time in samples.csv is not above 0")
    }
    // Two or three of one run beside many of the other would do by the formula, but they were taken
    // within one moment of the machine.
    let least = RankSumDistribution.leastCount(tail: ComparisonRules.tail)
    guard min(independent.a, independent.b) >= least, let interval = estimate.interval else {
      let worth =
        independent == (a.times.count, b.times.count)
        ? "" : ", worth \(independent.a) and \(independent.b) independent ones,"
      return .none(
        .unclear,
        reason: "\(a.times.count) and \(b.times.count) samples\(worth) are too few: it takes "
          + "\(least) and \(least) (--min-samples, --cell-timeout)")
    }
    let fastest = (b.times.min() ?? 0) * factor / (a.times.min() ?? 0)
    return .estimate(estimate, interval: interval, fastest: fastest)
  }

  private static func unmeasured(
    _ a: CellComparison.Side, _ b: CellComparison.Side
  ) -> Times? {
    if b.row.status == .wrong, a.row.status != .wrong {
      return .none(.wrong, reason: "wrong in B: \(b.row.reason)")
    }
    switch (a.row.status.isMeasured, b.row.status.isMeasured) {
    case (true, true):
      return nil
    case (true, false):
      let hasFailed = b.row.status == .error || b.row.status == .timeout
      return .none(hasFailed ? .lost : .unclear, reason: "measured in A, not in B: \(text(b.row))")
    case (false, true):
      return .none(.unclear, reason: "measured in B, not in A: \(text(a.row))")
    case (false, false):
      let (before, after) = (text(a.row), text(b.row))
      return .none(
        .unclear,
        reason: before == after
          ? "measured in neither: \(before)" : "measured in neither: A \(before), B \(after)")
    }
  }

  private static func text(_ row: ResultRow) -> String {
    row.reason.isEmpty ? row.status.rawValue : "\(row.status.rawValue) (\(row.reason))"
  }
}

/// Distributions that have been counted: cells often have as many samples as others.
struct RankSumDistributions {
  private var known: [[Int]: RankSumDistribution] = [:]

  /// The distribution for two numbers of samples, both at least 1.
  subscript(first: Int, second: Int) -> RankSumDistribution {
    mutating get {
      if let found = known[[first, second]] { return found }
      let distribution = RankSumDistribution(first: first, second: second)
      known[[first, second]] = distribution
      return distribution
    }
  }
}
