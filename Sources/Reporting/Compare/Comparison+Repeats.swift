import Choosing
import Measuring
import RealModule
import Records
import Statistics
import Units

extension Comparison {
  /// Compares every run of `b` with every run of `a`, where either build was run several times.
  ///
  /// The samples of one run share what was drawn once for it: where its memory lies, what else the
  /// machine did meanwhile. They cannot tell how far runs of one build lie apart; only other runs
  /// can (Kalibera and Jones, "Rigorous benchmarking in reasonable time", ISMM 2013). A cell is
  /// therefore FASTER, SLOWER or SAME when every pair of runs says so, and UNCLEAR when they
  /// disagree. Its ratio is the geometric mean over the pairs, its interval holds all of theirs.
  /// One pair that is WRONG or LOST is enough.
  ///
  /// - Returns: nil when a side has no run. The first run of either side is the one described by
  ///   `a` and `b`; the cells are those that these two share.
  public static func ofRuns(
    _ a: [RecordedRun], _ b: [RecordedRun], rules: ComparisonRules = ComparisonRules()
  ) -> Comparison? {
    let pairs = a.flatMap { before in b.map { Comparison(before, $0, rules: rules) } }
    guard let first = pairs.first else { return nil }
    return pairs.count == 1 ? first : first.confirmed(by: Array(pairs.dropFirst()))
  }

  private func confirmed(by others: [Comparison]) -> Comparison {
    let known = others.map { other in
      Dictionary(uniqueKeysWithValues: other.cells.map { (CellKey($0.a.row), $0) })
    }
    return replacing(
      cells: cells.map { cell in
        let key = CellKey(cell.a.row)
        return cell.confirmed(by: known.compactMap { $0[key] })
      })
  }
}

extension CellComparison {
  /// The cell over this pair of runs and others.
  fileprivate func confirmed(by others: [CellComparison]) -> CellComparison {
    let all = [self] + others
    if let worst = all.first(where: { $0.verdict == .wrong || $0.verdict == .lost }) {
      return replacing(change: change, verdict: worst.verdict, reason: worst.reason)
    }
    let changes = all.compactMap(\.change)
    guard let first = changes.first, changes.count == all.count else {
      let reason = all.lazy.filter { $0.change == nil }.map(\.reason).first ?? ""
      return replacing(change: change, verdict: .unclear, reason: reason)
    }
    let logarithm = changes.map { Double.log($0.ratio) }.reduce(0, +) / Double(changes.count)
    let combined = Change(
      ratio: Double.exp(logarithm),
      interval: changes.dropFirst().reduce(first.interval) { range, next in
        min(
          range.lowerBound, next.interval.lowerBound)...max(
            range.upperBound, next.interval.upperBound)
      },
      fastestRatio: Double.exp(
        changes.map { Double.log($0.fastestRatio) }.reduce(0, +) / Double(changes.count)),
      chance: changes.map(\.chance).reduce(first.chance, max))
    if all.allSatisfy({ $0.verdict == verdict }) {
      return replacing(change: combined, verdict: verdict, reason: reason)
    }
    let counts = Verdict.allCases.compactMap { verdict -> String? in
      let count = all.count { $0.verdict == verdict }
      return count == 0 ? nil : "\(count) \(verdict.rawValue)"
    }
    return replacing(
      change: combined, verdict: .unclear,
      reason: "of \(all.count) pairs of runs \(counts.joined(separator: ", "))")
  }

  private func replacing(change: Change?, verdict: Verdict, reason: String) -> CellComparison {
    CellComparison(a: a, b: b, change: change, verdict: verdict, reason: reason)
  }
}
