import AttentionContract
import Tensors

/// What a row may keep, by a strategy's definition in fp64.
protocol SelectionDefinition: Sendable {
  /// The choices that decide what a row keeps; empty where it keeps all that it sees. Nil where a NaN
  /// decides.
  func contests(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> [Contest]?
  /// Whether all rows of a head have the same contests.
  var isOfHeads: Bool { get }
  /// Whether a row keeps a key, given the items that it keeps of each contest.
  func keeps(_ key: Int, row: Int, batch: Int, of items: [Set<Int>]) -> Bool
}

extension SelectionDefinition {
  var isOfHeads: Bool { false }
}

/// Items that compete for places by their scores.
struct Contest {
  typealias Scored = (item: Int, score: Double)

  /// Those kept whatever their scores, those that won, and those that lost.
  let own: [Int]
  private let won: [Scored]
  private let lost: [Scored]
  /// How far apart scores may lie that roundings bring into another order.
  private let rounding: Double

  /// - Parameters:
  ///   - scored: in the order of items; of equal scores the earlier wins, and a NaN before any number.
  ///   - places: how many of them win.
  ///   - rounding: the largest error that a score may have in fp32.
  ///   - relative: the same for each unit of the worst score that wins; what underflows counts as 0.
  init(
    own: [Int] = [], _ scored: [Scored], places: Int, rounding: Double = 0, relative: Double = 0
  ) {
    let ordered = scored.map { (item: $0.item, score: $0.score.isNaN ? .infinity : $0.score) }
      .sorted { $0.score > $1.score || $0.score == $1.score && $0.item < $1.item }
    self.own = own
    won = Array(ordered.prefix(places))
    let worst = won.last.map { abs($0.score) } ?? 0
    self.rounding = relative == 0 ? rounding : relative * worst + Double(Float.leastNormalMagnitude)
    lost = Array(ordered.dropFirst(places))
  }

  var kept: Set<Int> { Set(own + won.map(\.item)) }

  /// What may as well be kept: a winner exchanged for a loser where both lie within roundings of the worst
  /// that won.
  var exchanged: some Sequence<Set<Int>> {
    let worst = won.last?.score ?? .infinity
    let losers = lost.prefix { worst - $0.score <= rounding }
    let winners = won.reversed().prefix { $0.score - worst <= rounding }
    return losers.lazy.flatMap { loser in
      winners.lazy.map { winner in kept.subtracting([winner.item]).union([loser.item]) }
    }
  }
}

/// Softmax over what a selection keeps, by the definition in fp64.
struct SelectedOracle<Definition: SelectionDefinition>: AttentionOracle {
  private let problem: AttentionProblem
  private let definition: Definition
  /// The contests of the head that it was prepared for; nil where a row's own are to be asked for.
  private var ofHead: [Contest]??

  init(_ problem: AttentionProblem, _ definition: Definition) {
    (self.problem, self.definition) = (problem, definition)
  }

  func prepared(_ inputs: InputViews, batch: Int, head: Int) -> any AttentionOracle {
    guard definition.isOfHeads else { return self }
    var oracle = self
    oracle.ofHead = .some(definition.contests(inputs, batch: batch, head: head, row: 0))
    return oracle
  }

  private func contests(
    _ inputs: InputViews, batch: Int, head: Int, row: Int
  ) -> [Contest]? {
    ofHead ?? definition.contests(inputs, batch: batch, head: head, row: row)
  }

  func row(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> OracleRow {
    let contests = contests(inputs, batch: batch, head: head, row: row)
    return softmax(inputs, batch, head, row, keeping: contests?.map(\.kept))
  }

  func keptKeys(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> [Int]? {
    let contests = contests(inputs, batch: batch, head: head, row: row)
    return softmax(batch, row, keeping: contests?.map(\.kept))
      .keptKeys(inputs, batch: batch, head: head, row: row)
  }

  /// One for each item that may as well be kept: where scores lie within roundings of each other at the edge
  /// of what is kept, either is right.
  func admissible(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> [OracleRow] {
    let contests = contests(inputs, batch: batch, head: head, row: row)
    let kept = contests?.map(\.kept)
    var rows = [softmax(inputs, batch, head, row, keeping: kept)]
    for (place, contest) in (contests ?? []).enumerated() {
      for exchanged in contest.exchanged {
        if rows.count == Self.mostAdmissible { return rows }
        guard var kept else { break }
        kept[place] = exchanged
        rows.append(softmax(inputs, batch, head, row, keeping: kept))
      }
    }
    return rows
  }

  /// Of a row whose scores are so close that more may be exchanged the first must do.
  private static var mostAdmissible: Int { 16 }

  /// - Parameter items: nil where a NaN decided.
  private func softmax(
    _ inputs: InputViews, _ batch: Int, _ head: Int, _ row: Int, keeping items: [Set<Int>]?
  ) -> OracleRow {
    let geometry = problem.geometry(batch: batch)
    if items == nil, !geometry.visible(from: row + geometry.offset).isEmpty {
      return OracleRow(
        output: Array(repeating: .nan, count: problem.shape.valueDim), logSumExp: .nan)
    }
    return softmax(batch, row, keeping: items).row(inputs, batch: batch, head: head, row: row)
  }

  private func softmax(_ batch: Int, _ row: Int, keeping items: [Set<Int>]?) -> SoftmaxOracle {
    let definition = definition
    return SoftmaxOracle(problem) {
      KeptKeys(geometry: $0) { key in
        items?.isEmpty ?? true || definition.keeps(key, row: row, batch: batch, of: items ?? [])
      }
    }
  }
}

/// The keys that are kept, whoever looks: for one row of an oracle.
private struct KeptKeys: KeyPattern {
  let geometry: MaskGeometry
  let keeps: @Sendable (Int) -> Bool

  func includes(position: Int, key: Int) -> Bool {
    geometry.visible(from: position).contains(key) && keeps(key)
  }

  var rowStrides: [Int] { [1] }

  func sequences(pass: Int, residue: Int) -> [KeySequence] {
    [KeySequence(0..<geometry.keyLength)]
  }

  /// What is kept is no range; oracles ask `includes`.
  func range(pass: Int, sequence index: Int, position: Int) -> Range<Int> {
    geometry.visible(from: position)
  }
}
