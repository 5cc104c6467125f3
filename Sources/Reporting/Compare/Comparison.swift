import Choosing
import Foundation
import Measuring
import OrderedCollections
import RealModule
import Records
import Statistics
import Units

/// Two runs, A and B, cell by cell: is B faster, slower or the same, and is it still right?
///
/// A cell of both runs is FASTER or SLOWER when its samples say so beyond chance, with the number
/// of cells accounted for, and the estimated effect and that of the fastest samples alone reach the
/// minimum effect; it is SAME when its interval leaves room for smaller effects only; everything
/// else is UNCLEAR, with the reason. The fastest samples are asked because what else happens on a
/// machine only adds time (Chen and Revels, "Robust benchmarking in noisy environments", 2016,
/// arXiv 1608.04295): other code shows in all samples, a busier machine spares some.
/// Calls SLOWER and calls FASTER are two families of tests: many cells that became faster do not
/// make it easier to call one slower. An output that left its definition is WRONG whatever it
/// takes, and a cell that A measured and B cannot is LOST.
public struct Comparison: Sendable {
  /// The run that B is held against.
  public let a: RecordedRun
  /// The run that is judged.
  public let b: RecordedRun
  /// What counts as a difference.
  public let rules: ComparisonRules
  /// The cells of both, smallest size first.
  public private(set) var cells: [CellComparison]
  /// The rows of cells that only A has.
  public let onlyInA: [ResultRow]
  /// The rows of cells that only B has.
  public let onlyInB: [ResultRow]

  /// Compares `b` with `a`.
  public init(_ a: RecordedRun, _ b: RecordedRun, rules: ComparisonRules = ComparisonRules()) {
    self.a = a
    self.b = b
    self.rules = rules
    let rowsOfB = OrderedDictionary(uniqueKeysWithValues: b.rows.map { (CellKey($0), $0) })
    let keysOfA = Set(a.rows.map { CellKey($0) })
    onlyInA = a.rows.filter { rowsOfB[CellKey($0)] == nil }
    onlyInB = b.rows.filter { !keysOfA.contains(CellKey($0)) }
    var distributions = RankSumDistributions()
    let evidence = a.rows.compactMap { before -> CellEvidence? in
      rowsOfB[CellKey(before)].map { after in
        CellEvidence(
          (before, a.times(of: before)), (after, b.times(of: after)), metric: rules.metric,
          distributions: &distributions)
      }
    }
    cells = Self.weigh(evidence, rules)
  }

  /// How many cells of both have a verdict.
  public func count(_ verdict: Verdict) -> Int { cells.count { $0.verdict == verdict } }

  /// Whether B is worse than A in any cell.
  public var hasRegression: Bool { cells.contains { $0.verdict.isRegression } }

  /// The geometric mean of the ratios of all cells that have one, and how many those are; nil when
  /// none has. The right mean for ratios: it does not depend on which run is the reference
  /// (Fleming and Wallace, "How not to lie with statistics", CACM 29(3), 1986).
  public var meanRatio: (ratio: Double, cells: Int)? {
    let logarithms = cells.compactMap { $0.change.map { Double.log($0.ratio) } }
    guard !logarithms.isEmpty else { return nil }
    return (Double.exp(logarithms.reduce(0, +) / Double(logarithms.count)), logarithms.count)
  }

  /// The same comparison with other findings.
  func replacing(cells: [CellComparison]) -> Comparison {
    var comparison = self
    comparison.cells = cells
    return comparison
  }

  private static func weigh(_ evidence: [CellEvidence], _ rules: ComparisonRules)
    -> [CellComparison]
  {
    let estimates = evidence.compactMap(\.estimate)
    var larger = FalseDiscoveryRate.adjusted(estimates.map(\.chanceOfLarger)).makeIterator()
    var smaller = FalseDiscoveryRate.adjusted(estimates.map(\.chanceOfSmaller)).makeIterator()
    return evidence.map { cell in
      guard case .estimate(let estimate, let interval, let fastest) = cell.times,
        let chances = larger.next().flatMap({ up in smaller.next().map { (up, $0) } })
      else { return judge(cell, nil, rules, tests: estimates.count) }
      let change = CellComparison.Change(
        ratio: estimate.ratio, interval: interval, fastestRatio: fastest,
        chance: min(1, 2 * min(chances.0, chances.1)))
      return judge(cell, change, rules, tests: estimates.count)
    }
  }

  private static func judge(
    _ cell: CellEvidence, _ change: CellComparison.Change?, _ rules: ComparisonRules, tests: Int
  ) -> CellComparison {
    var (verdict, reason) =
      if let change {
        rules.verdict(on: change, samples: min(cell.a.samples, cell.b.samples), tests: tests)
      } else if case .none(let verdict, let reason) = cell.times {
        (verdict, reason)
      } else {
        (Verdict.unclear, "")
      }
    let (before, after) = (
      cell.a.row.accuracy.oracleRelativeL2, cell.b.row.accuracy.oracleRelativeL2
    )
    if let before, let after, ComparisonRules.isWorse(after, than: before) {
      verdict = .wrong
      reason =
        "error against its own definition \(ErrorText.short(before)) in A, "
        + "\(ErrorText.short(after)) in B"
    }
    return CellComparison(a: cell.a, b: cell.b, change: change, verdict: verdict, reason: reason)
  }
}

extension ComparisonRules {
  /// What the times of a cell say.
  ///
  /// - Parameters:
  ///   - samples: how many the smaller of the two sets has.
  ///   - tests: how many cells are tested.
  func verdict(
    on change: CellComparison.Change, samples: Int, tests: Int
  ) -> (verdict: Verdict, reason: String) {
    let isBeyondChance = change.chance <= 1 - Self.confidence
    let isLarge = !(sameRange.lowerBound < change.ratio && change.ratio < sameRange.upperBound)
    let isInFastest =
      change.ratio > 1
      ? change.fastestRatio >= sameRange.upperBound : change.fastestRatio <= sameRange.lowerBound
    if isLarge && isBeyondChance && isInFastest {
      return (change.ratio > 1 ? .slower : .faster, "")
    }
    if sameRange.contains(change.interval.lowerBound)
      && sameRange.contains(change.interval.upperBound)
    {
      return (.same, "")
    }
    let limit = "--min-effect \(Self.percent(minimumEffect))"
    let more = "more samples decide (--min-samples, --cell-timeout)"
    if !isLarge { return (.unclear, "the interval reaches beyond \(limit): \(more)") }
    if change.interval.contains(1) {
      return (.unclear, "the change is beyond \(limit), but the interval holds 1: \(more)")
    }
    if isBeyondChance {
      return (
        .unclear,
        "the change is beyond \(limit), but not between the fastest samples: a busier machine looks "
          + "like this, other code does not; sweep again"
      )
    }
    let least = RankSumDistribution.leastCount(tail: Self.tail / Double(max(tests, 1)))
    return (
      .unclear,
      "the change is beyond \(limit), but among \(tests) cells chance gives as much with "
        + "\(Self.percent(change.chance)): "
        + (samples < least ? "sweep with --min-samples \(least)" : more)
    )
  }

  /// A share with at most three digits: `5%`.
  private static func percent(_ share: Double) -> String {
    String(format: "%.3g%%", 100 * share)
  }
}
