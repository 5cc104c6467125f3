import Attention
import Foundation
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

  /// - Parameter isUsable: whether a strategy may be chosen.
  init(_ group: ModelMeasurement.Group, where isUsable: (String) -> Bool = { _ in true }) {
    let heads = Double(max(group.heads, 1))
    let known = group.candidates.filter { isUsable($0.strategy) }
    strategies = known.map(\.strategy)
    seconds = ModelAssignment.levelled(
      known.map { (seconds: $0.seconds, spread: $0.low...$0.high) }
    ).map { $0 / heads }
    pairs = known.map(\.pairsShare)
  }

  /// The options of each head of a layer, in the order of `strategies`.
  func slots(
    _ layer: ModelMeasurement.Layer, heads: Int, sensitivity: Double
  ) -> [[ModelAssignment.Cost]] {
    (0..<heads).map { head in
      strategies.indices.map { index in
        // Nothing weighs an error that is not finite lightly enough.
        let loss = layer.squaredErrors[strategies[index]]?[head].map { $0 * sensitivity }
        return ModelAssignment.Cost(seconds: seconds[index], loss: loss ?? .infinity)
      }
    }
  }

  /// A head with one of the options.
  func head(_ index: Int, _ head: Int, _ layer: ModelMeasurement.Layer) -> ModelChoice.Head {
    ModelChoice.Head(
      strategy: strategies[index],
      squaredError: layer.squaredErrors[strategies[index]]?[head] ?? 0, pairsShare: pairs[index])
  }

  /// Of one head, by place in `strategies`.
  func seconds(_ index: Int) -> Double { seconds[index] }
  func pairsShare(_ index: Int) -> Double { pairs[index] }
}

extension ModelMeasurement {
  /// The layers of which something is known, with their options.
  private struct Board {
    /// By place in the model.
    var places: [Int] = []
    var tables: [OptionTable] = []
    var slots: [[ModelAssignment.Cost]] = []
  }

  /// The least time found within a limit, and the whole trade-off.
  ///
  /// - Parameters:
  ///   - limit: on the root of the weighted sum of squared errors; nil asks for the trade-off alone.
  ///   - sensitivities: the weight of each layer's squared error, in the order of `layers`.
  public func choice(within limit: Double?, sensitivities: [Double]) -> ModelChoice {
    precondition(sensitivities.count == layers.count, "a weight for each layer")
    let groupOfLayer = groupOfLayer
    let own = layers.map { layer in groupOfLayer[layer.number].map { groups[$0] } }
    let tables = groups.map { OptionTable($0) }
    var board = Board()
    for (place, layer) in layers.enumerated() where layer.isMeasured {
      guard let group = groupOfLayer[layer.number] else { continue }
      board.places.append(place)
      board.tables.append(tables[group])
      board.slots += tables[group].slots(
        layer, heads: groups[group].heads, sensitivity: sensitivities[place])
    }
    let assignment = ModelAssignment(board.slots)
    let baselineSeconds = own.reduce(0) { $0 + ($1?.baselineSeconds ?? 0) }
    let measured = board.places.reduce(0) { $0 + (own[$1]?.baselineSeconds ?? 0) }
    let headCount = own.reduce(0) { $0 + ($1?.heads ?? 0) }

    func point(_ limit: Double) -> (ModelChoice.Point, [Int]) {
      let choice = assignment.choice(within: limit * limit)
      let total = assignment.total(of: choice)
      let seconds = baselineSeconds - measured + total.seconds
      var kept = Double(headCount - choice.count)
      forEachHead(of: board, own) { slot, index, _ in
        kept += board.tables[index].pairsShare(choice[slot])
      }
      return (
        ModelChoice.Point(
          limit: limit, totalError: max(0, total.loss).squareRoot(), seconds: seconds,
          speedup: seconds > 0 ? baselineSeconds / seconds : 1,
          pairsShare: kept / Double(max(headCount, 1))), choice
      )
    }
    let chosen = limit.map(point)
    var curve: [ModelChoice.Point] = []
    if let last = assignment.curve.last, last.seconds < measured {
      for limit in Self.limits(through: max(0, last.loss).squareRoot()) {
        let (next, _) = point(limit)
        // A limit that changes nothing is none.
        if next.speedup > (curve.last?.speedup ?? 1) * 1.005 { curve.append(next) }
      }
    }
    var result = layers.indices.map { place in
      ModelChoice.Layer(
        number: layers[place].number, name: layers[place].name,
        isMeasured: layers[place].isMeasured, sensitivity: sensitivities[place],
        heads: Array(
          repeating: ModelChoice.Head(
            strategy: own[place]?.baseline ?? "", squaredError: 0, pairsShare: 1),
          count: own[place]?.heads ?? 0),
        seconds: own[place]?.baselineSeconds ?? 0,
        baselineSeconds: own[place]?.baselineSeconds ?? 0)
    }
    if let (_, choice) = chosen {
      for place in board.places { result[place].seconds = 0 }
      forEachHead(of: board, own) { slot, index, head in
        let (place, table) = (board.places[index], board.tables[index])
        result[place].heads[head] = table.head(choice[slot], head, layers[place])
        result[place].seconds += table.seconds(choice[slot])
      }
    }
    return ModelChoice(
      baseline: baseline, baselineSeconds: baselineSeconds, options: options, curve: curve,
      chosen: chosen?.0, layers: result, wrong: wrong, wasInterrupted: false)
  }

  /// Calls `body` with the place of the slot, of the layer on the board, and the head.
  private func forEachHead(of board: Board, _ own: [Group?], _ body: (Int, Int, Int) -> Void) {
    var slot = 0
    for (index, place) in board.places.enumerated() {
      for head in 0..<(own[place]?.heads ?? 0) {
        body(slot, index, head)
        slot += 1
      }
    }
  }

  private var options: [ModelChoice.Option] {
    groups.flatMap { group in
      group.candidates.map { candidate in
        ModelChoice.Option(
          strategy: candidate.strategy,
          layers: layers.filter {
            group.layers.contains($0.number) && $0.squaredErrors[candidate.strategy] != nil
          }.map(\.number).sorted(),
          seconds: candidate.seconds, pairsShare: candidate.pairsShare)
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
