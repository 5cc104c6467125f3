import Attention
import MachineTopology
import RealModule
import Records
import Statistics
import Units

/// How much of full attention lies on the keys that a restricted strategy keeps, on some rows.
///
/// Of one row, full attention's weights being p and K the keys kept:
///
/// - the mass kept is the sum of p over K, as a share of the sum over all keys, so that what a sink logit
///   takes counts neither way;
/// - the true top keys are the k keys with the largest p, where k is the number of keys kept, at most
///   `mostTopKeys`; found are those that are kept. A key whose score equals the least of the top keys, as
///   fp32 holds it, is as good as that one.
///
/// Beside the mass kept stand those that as many keys would hold if they were the best of the row, as
/// `topk` keeps them, and if they were drawn by lot: the share of the row's keys.
package struct RowRecall: Hashable, Sendable {
  /// The number of true top keys that are looked for at most: the order of the keys after them is that of
  /// weights near nothing.
  package static let mostTopKeys = 1024

  package var massKept = 0.0
  package var topKeysFound = 0.0
  package var bestMass = 0.0
  package var massByLot = 0.0
}

/// The means of what rows had, and what that says of a selection.
public struct Recall: Equatable, Sendable {
  /// The mean share of full attention's mass on the keys that were kept.
  public let massKept: Double
  /// The mean share of the true top keys that were kept.
  public let topKeysFound: Double
  /// The mean mass of as many keys of each row, the best ones: what `topk` keeps with the same budget.
  public let bestMass: Double
  /// Of what the best keys hold beyond keys drawn by lot the share that those kept hold: 1 is as good as
  /// `topk`, 0 as good as the lot. Nil where there is nothing to gain: all keys are kept, or all weigh alike.
  public let gainRealised: Double?
  /// How many rows: those that see a key and whose scores are numbers.
  public let rowCount: Int

  /// Nil of no rows.
  package init?(_ rows: [RowRecall]) {
    if rows.isEmpty { return nil }
    func mean(_ figure: (RowRecall) -> Double) -> Double {
      rows.reduce(0) { $0 + figure($1) } / Double(rows.count)
    }
    massKept = mean(\.massKept)
    topKeysFound = mean(\.topKeysFound)
    bestMass = mean(\.bestMass)
    let lot = mean(\.massByLot)
    // Weights are held in fp32: less than this is no gain.
    gainRealised = bestMass - lot > 1e-6 ? (massKept - lot) / (bestMass - lot) : nil
    rowCount = rows.count
  }
}

/// Full attention's scores on some rows of a problem, in order: worked out once, to hold the keys against that
/// many strategies keep.
///
/// - Complexity: O(nKV (d + log nKV)) a row to make, O(nKV) a row for each strategy; 12 bytes a row and key.
package struct RecallReference: Sendable {
  /// One row: scores less the largest of them, natural units.
  private struct Row: Sendable {
    /// By key from the first visible one on; NaN for keys that are hidden.
    let first: Int
    let scores: [Float]
    /// The visible ones', falling, and the share of the mass on the first i.
    let sorted: [Float]
    let massOfFirst: [Float]
    let total: Double
  }

  private let places: [SampledRow]
  private let rows: [Row?]

  package init(
    _ problem: AttentionProblem, rows places: [SampledRow], _ inputs: InputViews,
    on team: WorkerTeam
  ) {
    self.places = places
    let oracle = SoftmaxOracle(full: problem)
    rows = places.map(with: oracle, inputs, on: team) { _, views, place in
      Self.row(oracle.scores(views, batch: place.batch, head: place.head, row: place.row))
    }
  }

  /// Nil for a row without weights: it sees no key, or its scores are not numbers.
  private static func row(_ scores: [(key: Int, score: Double)]) -> Row? {
    let largest = scores.reduce(-Double.infinity) { max($0, $1.score) }
    guard largest.isFinite, let first = scores.first?.key, let last = scores.last?.key,
      !scores.contains(where: { $0.score.isNaN })
    else { return nil }
    var byKey = [Float](repeating: .nan, count: last - first + 1)
    for (key, score) in scores { byKey[key - first] = Float(score - largest) }
    // A key whose score is -inf is a key not seen.
    let sorted = scores.map { Float($0.score - largest) }.filter { $0 != -.infinity }
      .sorted(by: >)
    var sum = 0.0
    let sums = sorted.map { score in
      sum += Double.exp(Double(score))
      return sum
    }
    return Row(
      first: first, scores: byKey, sorted: sorted,
      massOfFirst: [0] + sums.map { Float($0 / sum) }, total: sum)
  }

  /// What a strategy keeps of the rows, by its own definition; nil of a strategy that is no softmax over a
  /// subset of the keys, and of no rows.
  ///
  /// - Parameter inputs: the ones that this was made from, with the operands that the strategy takes.
  package func recall(
    of oracle: any AttentionOracle, _ inputs: InputViews, on team: WorkerTeam
  ) -> Recall? {
    Recall(rowRecalls(of: oracle, inputs, on: team).compactMap { $0 })
  }

  /// The same row by row; nil for rows that nothing can be said of.
  package func rowRecalls(
    of oracle: any AttentionOracle, _ inputs: InputViews, on team: WorkerTeam
  ) -> [RowRecall?] {
    let kept = places.map(with: oracle, inputs, on: team) { oracle, views, place in
      oracle.keptKeys(views, batch: place.batch, head: place.head, row: place.row)
    }
    return zip(rows, kept).map { row, keys in
      guard let row, let keys else { return nil }
      return Self.recall(of: keys, row)
    }
  }

  private static func recall(of keys: [Int], _ row: Row) -> RowRecall {
    let kept = keys.compactMap { key -> Float? in
      guard row.scores.indices.contains(key - row.first) else { return nil }
      let score = row.scores[key - row.first]
      return score > -.infinity ? score : nil
    }
    let top = min(kept.count, RowRecall.mostTopKeys)
    let mass = kept.reduce(0) { $0 + Double.exp(Double($1)) } / row.total
    // Nothing kept, nothing looked for.
    let found = top == 0 ? 0 : min(kept.count { $0 >= row.sorted[top - 1] }, top)
    return RowRecall(
      massKept: mass, topKeysFound: top == 0 ? 0 : Double(found) / Double(top),
      bestMass: Double(row.massOfFirst[kept.count]),
      massByLot: Double(kept.count) / Double(row.sorted.count))
  }
}
