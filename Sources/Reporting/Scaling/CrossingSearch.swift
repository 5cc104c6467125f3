import Choosing
import Measuring
import Records
import Statistics
import Units

/// Finds where the lead changes between two piecewise straight curves, and how surely.
///
/// Every size is asked first whether 97.5% of the replicates agree on who leads there. A crossing
/// is one between neighbouring sizes that are decided in opposite ways; undecided sizes in between
/// only widen its interval, so noise around one crossing does not make many of it. Where the lead
/// that the medians end or begin with is undecided, their last change is unclear. Between two sizes
/// that are decided the same way the lead was never lost, whatever the medians do in between.
struct CrossingSearch {
  /// One change of the lead, or the statement that there is none.
  struct Finding: Equatable {
    var firstLeads: Bool
    var outcome: Crossover.Outcome
    var logSize: Double?
    var interval: ClosedRange<Double>?
    var share: Double?
  }

  /// The logarithms of the sizes, rising.
  let logSizes: [Double]
  /// The logarithm of the second curve's time over the first one's, at every size: above 0 where
  /// the first one is faster.
  let lead: [Double]
  /// The same of every bootstrap replicate; empty without raw samples.
  let replicates: [[Double]]

  /// The sizes that are decided, rising.
  private let decisions: [Decision]

  /// The share of replicates that decides a size or a crossing.
  private static let certainty = 0.95

  init(logSizes: [Double], lead: [Double], replicates: [[Double]]) {
    self.logSizes = logSizes
    self.lead = lead
    self.replicates = replicates
    let needed = (1 + Self.certainty) / 2 * Double(replicates.count)
    decisions =
      replicates.isEmpty
      ? []
      : lead.indices.compactMap { index in
        if Double(replicates.count { $0[index] > 0 }) >= needed {
          return Decision(index: index, firstLeads: true)
        }
        if Double(replicates.count { $0[index] < 0 }) >= needed {
          return Decision(index: index, firstLeads: false)
        }
        return nil
      }
  }

  /// How many sizes are decided.
  var decidedCount: Int { decisions.count }

  /// The changes of the lead, rising; one entry when there are none.
  var findings: [Finding] {
    if lead.allSatisfy({ $0 == 0 }) || (!replicates.isEmpty && decisions.isEmpty) {
      return [Finding(firstLeads: true, outcome: .level)]
    }
    let bounds: [Decision?] = [nil] + decisions + [nil]
    let found = zip(bounds, bounds.dropFirst()).flatMap { left, right in
      if let left, let right, left.firstLeads != right.firstLeads {
        return [crossing(from: left, to: right)]
      }
      return unclear(between: (left?.index ?? 0)...(right?.index ?? lead.count - 1))
    }
    if !found.isEmpty { return found }
    let firstLeads = decisions.first?.firstLeads ?? (lead.first { $0 != 0 } ?? 0 > 0)
    return [Finding(firstLeads: firstLeads, outcome: .none)]
  }

  /// A size at which the replicates agree on who leads.
  private struct Decision {
    let index: Int
    let firstLeads: Bool
  }

  /// The crossing between two sizes that are decided in opposite ways: the last one where there are
  /// several, because from there on the lead stays.
  private func crossing(from left: Decision, to right: Decision) -> Finding {
    let range = left.index...right.index
    let positions = replicates.compactMap { replicate -> Double? in
      guard let last = changes(replicate, in: range).last, last.firstLeads == right.firstLeads
      else { return nil }
      return last.logSize
    }
    let share = Double(positions.count) / Double(replicates.count)
    let isHeld = share >= Self.certainty
    let interval = SampleSummary.centralRange(positions)
    let middle = changes(lead, in: range).last { $0.firstLeads == right.firstLeads }?.logSize
    return Finding(
      firstLeads: right.firstLeads, outcome: isHeld ? .crossing : .unclear,
      logSize: middle ?? interval.map { ($0.lowerBound + $0.upperBound) / 2 },
      interval: isHeld ? interval : nil, share: share)
  }

  /// The last change of the medians in a range with an end that is not decided; all of them where
  /// there are no samples to decide anything.
  private func unclear(between range: ClosedRange<Int>) -> [Finding] {
    let all = changes(lead, in: range)
    if replicates.isEmpty {
      return all.map { Finding(firstLeads: $0.firstLeads, outcome: .unclear, logSize: $0.logSize) }
    }
    guard let last = all.last, !all.count.isMultiple(of: 2) else { return [] }
    let agreeing = replicates.count { replicate in
      changes(replicate, in: range).last?.firstLeads == last.firstLeads
    }
    return [
      Finding(
        firstLeads: last.firstLeads, outcome: .unclear, logSize: last.logSize,
        share: Double(agreeing) / Double(replicates.count))
    ]
  }

  /// Where a lead changes its sign, and who leads from there on. After a tie that is where the tie
  /// ends.
  private func changes(
    _ lead: [Double], in range: ClosedRange<Int>
  ) -> [(logSize: Double, firstLeads: Bool)] {
    var changes: [(logSize: Double, firstLeads: Bool)] = []
    var last: Int?
    for index in range where lead[index] != 0 {
      if let last, (lead[last] > 0) != (lead[index] > 0) {
        let share = lead[last] / (lead[last] - lead[index])
        let straight = logSizes[last] + share * (logSizes[index] - logSizes[last])
        changes.append((index - last > 1 ? logSizes[index - 1] : straight, lead[index] > 0))
      }
      last = index
    }
    return changes
  }
}
