/// One option for each of many slots, where times add and losses add: the heads of all layers.
///
/// The points that a factor lambda picks, each slot taking its least time + lambda x loss, are the
/// lower convex hull of all assignments. They are reached from the least loss by moves along the
/// hulls of the single slots, the one that saves most time for its loss first. Between two of these
/// points `choice(within:)` fills what is left of a limit greedily. Work: S k log(S k) for S slots of
/// k options.
package struct ModelAssignment {
  /// What an option costs, or a choice over all slots.
  package struct Cost: Equatable, Sendable {
    /// The time it takes.
    package var seconds: Double
    /// What it loses, 0 or more; infinite for an option that must not be chosen.
    package var loss: Double

    package init(seconds: Double, loss: Double) {
      self.seconds = seconds
      self.loss = loss
    }
  }

  /// A slot goes on to the next option of its hull.
  private struct Move {
    let slot: Int
    let option: Int
    let saved: Double
    let loss: Double
    /// Time saved for each unit of loss.
    let slope: Double
    /// Its place in the slot's hull.
    let place: Int
  }

  private let slots: [[Cost]]
  /// For each slot the option that loses least.
  private let start: [Int]
  private let moves: [Move]

  /// - Parameter slots: the options of each slot, at least one of finite time and loss.
  package init(_ slots: [[Cost]]) {
    self.slots = slots
    var start: [Int] = []
    var moves: [Move] = []
    for (slot, options) in slots.enumerated() {
      let hull = Self.hull(options)
      start.append(hull.first ?? 0)
      var slope = Double.infinity
      for (place, (from, to)) in zip(hull, hull.dropFirst()).enumerated() {
        let saved = options[from].seconds - options[to].seconds
        let loss = options[to].loss - options[from].loss
        // A hull's slopes fall; rounding must not put its moves into another order.
        slope = min(slope, saved / loss)
        moves.append(
          Move(slot: slot, option: to, saved: saved, loss: loss, slope: slope, place: place))
      }
    }
    self.start = start
    self.moves = moves.sorted { ($1.slope, $0.place, $0.slot) < ($0.slope, $1.place, $1.slot) }
  }

  /// The options on the lower convex hull of loss and time, from the least loss to the least time.
  private static func hull(_ options: [Cost]) -> [Int] {
    let order = options.indices.filter { options[$0].loss.isFinite && options[$0].seconds.isFinite }
      .sorted {
        (options[$0].loss, options[$0].seconds, $0) < (options[$1].loss, options[$1].seconds, $1)
      }
    var hull: [Int] = []
    for next in order {
      if let last = hull.last, options[next].seconds >= options[last].seconds { continue }
      while hull.count >= 2 {
        let (a, b, c) = (
          options[hull[hull.count - 2]], options[hull[hull.count - 1]], options[next]
        )
        // Whether b lies below the line from a to c.
        if (a.seconds - b.seconds) * (c.loss - a.loss) > (a.seconds - c.seconds) * (b.loss - a.loss)
        {
          break
        }
        hull.removeLast()
      }
      hull.append(next)
    }
    return hull
  }

  /// The sums at the hull's points, from the least loss to the least time.
  package var curve: [Cost] {
    var total = total(of: start)
    return [total]
      + moves.map { move in
        total.seconds -= move.saved
        total.loss += move.loss
        return total
      }
  }

  package func total(of choice: [Int]) -> Cost {
    zip(slots, choice).reduce(Cost(seconds: 0, loss: 0)) { total, slot in
      let option = slot.0[slot.1]
      return Cost(seconds: total.seconds + option.seconds, loss: total.loss + option.loss)
    }
  }

  /// The least time found within a limit on the sum of losses: moves along the hull while they fit,
  /// then what else fits, the largest gain first. Where nothing keeps to the limit, the least loss.
  package func choice(within limit: Double) -> [Int] {
    var choice = start
    var loss = total(of: start).loss
    // Sums in another order differ in the last bits.
    let limit = limit * (1 + 1e-12)
    var ended: Set<Int> = []
    for move in moves where !ended.contains(move.slot) {
      if loss + move.loss <= limit {
        choice[move.slot] = move.option
        loss += move.loss
      } else {
        ended.insert(move.slot)
      }
    }
    while let (slot, option) = exchange(choice, limit - loss) {
      loss += slots[slot][option].loss - slots[slot][choice[slot]].loss
      choice[slot] = option
    }
    return choice
  }

  /// The change of one slot that saves most time, of those that fit.
  private func exchange(_ choice: [Int], _ slack: Double) -> (slot: Int, option: Int)? {
    var best: (slot: Int, option: Int)?
    var (saved, added) = (0.0, 0.0)
    for (slot, options) in slots.enumerated() {
      let now = options[choice[slot]]
      for (index, option) in options.enumerated()
      where option.loss.isFinite && option.loss - now.loss <= slack {
        let (gain, more) = (now.seconds - option.seconds, option.loss - now.loss)
        if gain > 0, gain > saved || (gain == saved && more < added) {
          (best, saved, added) = ((slot, index), gain, more)
        }
      }
    }
    return best
  }
}

extension ModelAssignment {
  /// Times with those made equal that cannot be told apart: each that overlaps with the fastest of
  /// its group has that one's time, so that the loss decides among them.
  package static func levelled(_ times: [(seconds: Double, spread: ClosedRange<Double>)])
    -> [Double]
  {
    var levelled = times.map(\.seconds)
    var leader: Int?
    for index in times.indices.sorted(by: { times[$0].seconds < times[$1].seconds }) {
      if let fastest = leader, times[index].spread.overlaps(times[fastest].spread) {
        levelled[index] = times[fastest].seconds
      } else {
        leader = index
      }
    }
    return levelled
  }
}
