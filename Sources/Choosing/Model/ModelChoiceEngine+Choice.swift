import Attention
import Foundation
import Measuring
import Records
import Statistics
import Units

/// The times of a group's strategies on one head, made equal where they cannot be told apart, and
/// their pairs.
struct OptionTable {
  /// The baseline first.
  let strategies: [String]
  private let seconds: [Double]
  private let pairs: [Double]
  private let baseline: String

  /// - Parameter isUsable: whether a strategy may be chosen.
  init(_ group: ModelCandidates, where isUsable: (String) -> Bool = { _ in true }) {
    let heads = Double(group.problem.shape.heads)
    baseline = group.baseline.spec
    let known = group.measured.filter { isUsable($0.key) }
    let full = Double(max(group.baseline.work.pairs, 1))
    let ordered = known.values.sorted {
      ($0.spec == group.baseline.spec ? 0 : 1, $0.spec)
        < ($1.spec == group.baseline.spec ? 0 : 1, $1.spec)
    }
    strategies = ordered.map(\.spec)
    let times = ordered.map { entry in
      group.time(of: entry.spec).map { (seconds: $0.seconds, spread: $0.spread) }
        ?? (seconds: .infinity, spread: .infinity ... .infinity)
    }
    seconds = ModelAssignment.levelled(times).map { $0 / heads }
    pairs = ordered.map { Double($0.work.pairs) / full }
  }

  /// The options of each head of a layer, in the order of `strategies`.
  func slots(_ looks: ModelChoiceEngine.Looks, sensitivity: Double) -> [[ModelAssignment.Cost]] {
    let heads = looks.values.first?.count ?? 0
    return (0..<heads).map { head in
      strategies.indices.map { index in
        let squared = looks[strategies[index]].map { $0[head] } ?? .infinity
        // Nothing weighs an error that is not finite lightly enough.
        let loss = squared.isFinite ? squared * sensitivity : .infinity
        return ModelAssignment.Cost(seconds: seconds[index], loss: loss)
      }
    }
  }

  /// A head with one of the options.
  func head(_ index: Int, _ head: Int, _ looks: ModelChoiceEngine.Looks) -> ModelChoice.Head {
    ModelChoice.Head(
      strategy: strategies[index], squaredError: looks[strategies[index]].map { $0[head] } ?? 0,
      pairsShare: pairs[index])
  }

  /// Of one head, by place in `strategies`.
  func seconds(_ index: Int) -> Double { seconds[index] }
  func pairsShare(_ index: Int) -> Double { pairs[index] }
}

extension ModelChoiceEngine {
  /// The layers of which something is known, with their options.
  private struct Board {
    var places: [Int] = []
    var tables: [OptionTable] = []
    var slots: [[ModelAssignment.Cost]] = []
  }

  /// The choice among everything measured so far.
  func choice() -> ModelChoice {
    var board = Board()
    for group in groups {
      let table = OptionTable(group)
      // The baseline alone is no measurement, unless there is nothing to hold against it.
      for place in group.layers where looks[place].count > (group.chosen.isEmpty ? 0 : 1) {
        board.places.append(place)
        board.tables.append(table)
        board.slots += table.slots(looks[place], sensitivity: question.layers[place].sensitivity)
      }
    }
    let assignment = ModelAssignment(board.slots)
    let baselineSeconds = question.layers.indices.reduce(0) { $0 + self.baselineSeconds($1) }
    let measured = board.places.reduce(0) { $0 + self.baselineSeconds($1) }
    let headCount = question.layers.reduce(0) { $0 + $1.problem.shape.heads }

    func point(_ limit: Double) -> (ModelChoice.Point, [Int]) {
      let choice = assignment.choice(within: limit * limit)
      let total = assignment.total(of: choice)
      let seconds = baselineSeconds - measured + total.seconds
      var kept = Double(headCount - choice.count)
      forEachHead(of: board) { slot, layer, _ in
        kept += board.tables[layer].pairsShare(choice[slot])
      }
      return (
        ModelChoice.Point(
          limit: limit, totalError: max(0, total.loss).squareRoot(), seconds: seconds,
          speedup: seconds > 0 ? baselineSeconds / seconds : 1,
          pairsShare: kept / Double(max(headCount, 1))), choice
      )
    }
    let chosen = question.maximumTotalError.map(point)
    var curve: [ModelChoice.Point] = []
    if let last = assignment.curve.last, last.seconds < measured {
      for limit in Self.limits(through: max(0, last.loss).squareRoot()) {
        let (next, _) = point(limit)
        // A limit that changes nothing is none.
        if next.speedup > (curve.last?.speedup ?? 1) * 1.005 { curve.append(next) }
      }
    }
    return ModelChoice(
      baseline: groups.first?.baseline.spec ?? "", baselineSeconds: baselineSeconds,
      options: options, curve: curve, chosen: chosen?.0,
      layers: layers(board, chosen?.1), wrong: wrongTexts, wasInterrupted: false)
  }

  /// Calls `body` with the place of the slot, of the layer on the board, and the head.
  private func forEachHead(of board: Board, _ body: (Int, Int, Int) -> Void) {
    var slot = 0
    for (index, place) in board.places.enumerated() {
      for head in 0..<question.layers[place].problem.shape.heads {
        body(slot, index, head)
        slot += 1
      }
    }
  }

  private func layers(_ board: Board, _ choice: [Int]?) -> [ModelChoice.Layer] {
    var layers = question.layers.enumerated().map { place, layer in
      let seconds = baselineSeconds(place)
      let spec = group(of: place)?.baseline.spec ?? ""
      return ModelChoice.Layer(
        number: layer.number, name: layer.name, isMeasured: board.places.contains(place),
        sensitivity: layer.sensitivity,
        heads: Array(
          repeating: ModelChoice.Head(strategy: spec, squaredError: 0, pairsShare: 1),
          count: layer.problem.shape.heads),
        seconds: seconds, baselineSeconds: seconds)
    }
    guard let choice else { return layers }
    for place in board.places { layers[place].seconds = 0 }
    forEachHead(of: board) { slot, index, head in
      let (place, table) = (board.places[index], board.tables[index])
      layers[place].heads[head] = table.head(choice[slot], head, looks[place])
      layers[place].seconds += table.seconds(choice[slot])
    }
    return layers
  }

  /// The baseline's time on a layer: that of its own problem, or by the ratio of the work where the
  /// problem has not been run.
  private func baselineSeconds(_ place: Int) -> Double {
    guard let own = group(of: place) else { return 0 }
    let known = groups.compactMap { group in
      group.seconds(of: group.baseline.spec).map { (group: group, seconds: $0) }
    }
    if let found = known.first(where: { $0.group === own }) { return found.seconds }
    return known.first.map {
      $0.seconds * Double(own.baseline.work.flops)
        / Double(max($0.group.baseline.work.flops, 1))
    } ?? 0
  }

  private var options: [ModelChoice.Option] {
    groups.flatMap { group in
      let full = Double(max(group.baseline.work.pairs, 1))
      return group.measured.values.compactMap { entry in
        group.seconds(of: entry.spec).map { seconds in
          ModelChoice.Option(
            strategy: entry.spec,
            layers: (group.places[entry.spec] ?? []).map { question.layers[$0].number }.sorted(),
            seconds: seconds, pairsShare: Double(entry.work.pairs) / full)
        }
      }
    }.sorted { ($0.seconds, $0.strategy) < ($1.seconds, $1.strategy) }
  }

  /// Round limits up to the largest error there is: 0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, ...
  private static func limits(through largest: Double) -> [Double] {
    guard largest > 0, largest.isFinite else { return largest == 0 ? [0] : [] }
    var limits: [Double] = []
    for power in -3...max(-3, Int(log10(largest).rounded(.up))) {
      for digit in [1, 1.5, 2, 3, 5, 7] {
        // Of the decimal text, not a product's last bit.
        guard let limit = Double("\(digit)e\(power)") else { continue }
        limits.append(limit)
        if limit >= largest { return limits }
      }
    }
    return limits
  }
}
