import Measuring
import Records
import Statistics
import Units

/// Finds in each of several series the cheapest entry that is good enough, by halving.
///
/// An entry of a series costs more than the one before and, as a rule, has a smaller error. So that a broken
/// rule does less harm, and a table shows the whole range, a few entries spread over each series
/// are looked at first. There may be several goals, such as one a head: an entry can be good enough
/// for some. One that is passed over, because it cannot be the fastest, ends its series like one that
/// is good enough.
package struct SeriesSearch {
  /// What is known of an entry that has been looked at.
  package struct Look {
    /// The time of a run; nil where it could not be run.
    package var seconds: Double?
    /// Whether it is good enough, for each goal.
    package var meets: [Bool]
    /// Whether it was not looked at, because it cannot be the fastest: good enough for all that is
    /// known, and dearer than what is wanted.
    fileprivate(set) var isPassedOver = false

    /// What a look showed.
    package init(seconds: Double?, meets: [Bool]) {
      self.seconds = seconds
      self.meets = meets
    }
  }

  /// Places in the list of series and in the series.
  package struct Place: Hashable {
    package let series: Int
    package let index: Int
  }

  /// Times of a few runs that differ by less than this factor may be equal.
  package static let tolerance = 1.05
  /// Looks at a series before any halving.
  package static let spread = 5

  private let counts: [Int]
  private let goals: Int
  package private(set) var looks: [Place: Look] = [:]

  /// A search through series of so many entries each.
  package init(counts: [Int], goals: Int) {
    self.counts = counts
    self.goals = goals
  }

  /// The entries to look at first: first, last and some evenly between.
  package var first: [Place] {
    counts.enumerated().flatMap { series, count in
      guard count > 0 else { return [Place]() }
      let step = max(1, (count - 1 + Self.spread - 2) / (Self.spread - 1))
      let places = Array(stride(from: 0, to: count - 1, by: step)) + [count - 1]
      return places.map { Place(series: series, index: $0) }
    }
  }

  /// Notes what a look showed.
  package mutating func note(_ look: Look, at place: Place) { looks[place] = look }

  /// Notes that an entry cannot be the fastest, and with it the unknown ones below it of which the
  /// same can be said.
  package mutating func passOver(_ place: Place, cannotWin: (Int) -> Bool) {
    var index = place.index
    repeat {
      var look = Look(seconds: nil, meets: Array(repeating: false, count: goals))
      look.isPassedOver = true
      looks[Place(series: place.series, index: index)] = look
      index -= 1
    } while index >= 0 && looks[Place(series: place.series, index: index)] == nil
      && cannotWin(index)
  }

  /// The entries to look at next: in the middle between the dearest that is not good enough and the
  /// cheapest that is, for every series and goal where that may pay. Empty when the search is over.
  package var next: [Place] {
    var places: Set<Place> = []
    for goal in 0..<goals {
      let best = looks.values.lazy.filter { $0.meets[goal] }.compactMap(\.seconds).min()
      for series in counts.indices {
        if let place = middle(of: series, goal: goal, best: best) { places.insert(place) }
      }
    }
    return places.sorted { ($0.series, $0.index) < ($1.series, $1.index) }
  }

  private func middle(of series: Int, goal: Int, best: Double?) -> Place? {
    let known = (0..<counts[series]).filter { looks[Place(series: series, index: $0)] != nil }
    func look(_ index: Int) -> Look? { looks[Place(series: series, index: index)] }
    guard
      let good = known.first(where: {
        look($0)?.meets[goal] == true || look($0)?.isPassedOver == true
      }), let bad = known.last(where: { $0 < good }), good - bad > 1
    else { return nil }
    // All between cost at least as much as the one whose error is too large. What that costs, a dearer
    // one that ran faster also shows: a disturbed look must not end the search.
    let leastTime = known.filter { $0 >= bad }.compactMap { look($0)?.seconds }.min()
    if let best, let leastTime, leastTime >= Self.tolerance * best { return nil }
    // Of those that may be the fastest, the dearest is the most likely to be good enough.
    let isBeyond = look(good)?.isPassedOver == true
    return Place(series: series, index: isBeyond ? good - 1 : (bad + good) / 2)
  }
}
