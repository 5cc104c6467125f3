import AttentionBench
import Testing

/// The assignment of options to slots, against brute force.
@Suite struct ModelAssignmentTests {
  private typealias Cost = ModelAssignment.Cost

  /// Options with whole times and losses, so that sums are exact.
  private static func random(
    slots: Int, options: Int, _ generator: inout SeededGenerator
  ) -> [[Cost]] {
    (0..<slots).map { _ in
      [Cost(seconds: 40, loss: 0)]
        + (1..<options).map { _ in
          Cost(
            seconds: Double(Int.random(in: 1...40, using: &generator)),
            loss: Double(Int.random(in: 0...30, using: &generator)))
        }
    }
  }

  private static func all(_ slots: [[Cost]]) -> [Cost] {
    slots.reduce([Cost(seconds: 0, loss: 0)]) { totals, options in
      totals.flatMap { total in
        options.map {
          Cost(seconds: total.seconds + $0.seconds, loss: total.loss + $0.loss)
        }
      }
    }
  }

  @Test(arguments: 1...40) func pointsOfTheCurveAreOptimal(_ seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let slots = Self.random(slots: 4, options: 5, &generator)
    let assignment = ModelAssignment(slots)
    let all = Self.all(slots)
    let curve = assignment.curve
    for point in curve {
      let best = all.filter { $0.loss <= point.loss }.map(\.seconds).min()
      #expect(point.seconds == best)
      let chosen = assignment.total(of: assignment.choice(within: point.loss))
      #expect(chosen.seconds == best && chosen.loss <= point.loss)
    }
    #expect(curve.first?.loss == all.map(\.loss).min())
    #expect(curve.last?.seconds == all.map(\.seconds).min())
    // Convex: each move saves less for its loss than the one before.
    for ((a, b), c) in zip(zip(curve, curve.dropFirst()), curve.dropFirst(2)) {
      #expect(
        (a.seconds - b.seconds) * (c.loss - b.loss) >= (b.seconds - c.seconds) * (b.loss - a.loss))
    }
  }

  /// Between two points of the hull the choice keeps the limit, is no slower than the point before,
  /// and no faster than the optimum; nothing can be exchanged any more.
  @Test(arguments: 1...40) func gapsAreFilled(_ seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let slots = Self.random(slots: 4, options: 5, &generator)
    let assignment = ModelAssignment(slots)
    let all = Self.all(slots)
    for limit in stride(from: 0.0, through: 120, by: 3.5) {
      let choice = assignment.choice(within: limit)
      let total = assignment.total(of: choice)
      let optimum = all.filter { $0.loss <= limit }.map(\.seconds).min() ?? .infinity
      #expect(total.loss <= limit && total.seconds >= optimum)
      let before = assignment.curve.last { $0.loss <= limit }
      #expect(total.seconds <= before?.seconds ?? 0)
      for slot in slots.indices {
        for option in slots[slot].indices {
          var other = choice
          other[slot] = option
          let changed = assignment.total(of: other)
          #expect(changed.loss > limit || changed.seconds >= total.seconds)
        }
      }
    }
  }

  @Test func whatLosesNothingIsTakenForItsTime() {
    let free = [Cost(seconds: 5, loss: 0), Cost(seconds: 1, loss: 0)]
    let dear = [Cost(seconds: 5, loss: 0), Cost(seconds: 1, loss: 1)]
    let assignment = ModelAssignment([free, dear])
    #expect(assignment.choice(within: 0) == [1, 0])
    #expect(assignment.choice(within: 1) == [1, 1])
    #expect(
      assignment.curve == [.init(seconds: 6, loss: 0), .init(seconds: 2, loss: 1)])
  }

  @Test func ofEqualTimesTheOneThatLosesLeastIsTaken() {
    let options = [
      Cost(seconds: 2, loss: 0), Cost(seconds: 1, loss: 5), Cost(seconds: 1, loss: 3),
    ]
    #expect(ModelAssignment([options]).choice(within: 10) == [2])
    #expect(ModelAssignment([options]).choice(within: 2) == [0])
  }

  @Test func whatIsNotFiniteIsNeverChosen() {
    let options = [
      Cost(seconds: 1, loss: .infinity), Cost(seconds: .infinity, loss: 0),
      Cost(seconds: 3, loss: 1),
    ]
    let assignment = ModelAssignment([options])
    #expect(assignment.choice(within: .infinity) == [2])
    // Nothing keeps to this limit: the least loss.
    #expect(assignment.choice(within: 0.5) == [2])
  }

  @Test func timesThatOverlapCountAsTheFastest() {
    let times: [(Double, ClosedRange<Double>)] = [
      (1.05, 1.0...1.1), (1, 0.95...1.02), (2, 1.9...2.1), (1.15, 1.09...1.2),
    ]
    // The last overlaps with the first, but not with the fastest.
    #expect(
      ModelAssignment.levelled(times.map { (seconds: $0.0, spread: $0.1) }) == [1, 1, 2, 1.15])
  }
}
