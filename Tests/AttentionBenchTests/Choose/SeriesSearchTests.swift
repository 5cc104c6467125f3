import AttentionBench
import Testing

/// The search on series whose every figure is known.
@Suite struct SeriesSearchTests {
  /// Runs a search to its end.
  ///
  /// - Parameters:
  ///   - seconds: the time of an entry.
  ///   - meets: whether it is good enough, for each goal.
  /// - Returns: the search and how many entries it looked at.
  private func run(
    _ counts: [Int], goals: Int = 1, seconds: (Int, Int) -> Double = { Double($1 + 1) },
    meets: (Int, Int, Int) -> Bool
  ) -> SeriesSearch {
    var search = SeriesSearch(counts: counts, goals: goals)
    var places = search.first
    while !places.isEmpty {
      for place in places {
        #expect(search.looks[place] == nil, "looked at twice: \(place)")
        search.note(
          SeriesSearch.Look(
            seconds: seconds(place.series, place.index),
            meets: (0..<goals).map { meets(place.series, place.index, $0) }), at: place)
      }
      places = search.next
    }
    return search
  }

  private func cheapest(_ search: SeriesSearch, series: Int = 0, goal: Int = 0) -> Int? {
    search.looks.filter { $0.key.series == series && $0.value.meets[goal] }.map(\.key.index).min()
  }

  @Test(arguments: [1, 2, 3, 5, 6, 37, 100])
  func findsTheFirstThatIsGoodEnough(count: Int) {
    for threshold in 0..<count {
      let search = run([count]) { _, index, _ in index >= threshold }
      #expect(cheapest(search) == threshold, "\(threshold) of \(count)")
    }
  }

  @Test func looksAtFewEntries() {
    for threshold in 0..<129 {
      let search = run([129]) { _, index, _ in index >= threshold }
      #expect(search.looks.count <= SeriesSearch.spread + 5)
    }
  }

  @Test func firstLooksReachBothEnds() {
    let search = SeriesSearch(counts: [37, 1, 0, 4], goals: 1)
    let first = search.first.filter { $0.series == 0 }.map(\.index)
    #expect(first.first == 0 && first.last == 36 && first.count == SeriesSearch.spread)
    #expect(search.first.filter { $0.series == 1 }.map(\.index) == [0])
    #expect(search.first.filter { $0.series == 2 }.isEmpty)
    #expect(Set(search.first.filter { $0.series == 3 }.map(\.index)) == [0, 1, 2, 3])
  }

  @Test func severalGoalsAreSearchedTogether() {
    let thresholds = [3, 20, 33]
    let search = run([37], goals: 3) { _, index, goal in index >= thresholds[goal] }
    for goal in 0..<3 { #expect(cheapest(search, goal: goal) == thresholds[goal]) }
  }

  @Test func nothingIsSearchedWhereNothingIsGoodEnough() {
    let search = run([37]) { _, _, _ in false }
    #expect(search.looks.count == SeriesSearch.spread)
  }

  @Test func whatCannotBeCheaperIsLeftAlone() {
    // Series 1 costs ten times as much throughout and is good enough in its second half.
    let search = run(
      [37, 37], seconds: { series, index in Double(index + 1) * (series == 0 ? 1 : 100) }
    ) { series, index, _ in series == 0 || index >= 20 }
    #expect(search.looks.filter { $0.key.series == 1 }.count == SeriesSearch.spread)
  }

  /// One look that took ten times as long as it should, wherever it falls.
  @Test func oneDisturbedLookDoesNotEndTheSearch() {
    for disturbed in 0..<20 {
      let search = run(
        [37, 37],
        seconds: { series, index in
          Double(index + 1) * (series == 0 ? 1 : 1.2) * (series == 0 && index == disturbed ? 10 : 1)
        }
      ) { _, index, _ in index >= 20 }
      #expect(cheapest(search) == 20, "disturbed: \(disturbed)")
    }
  }

  /// From an entry on everything is too dear to win: the dearest below it is looked at, and halving
  /// goes on from there if that is good enough.
  @Test(arguments: [(31, 40), (20, 40), (40, 30), (7, 8), (0, 0)])
  func whatCannotWinEndsASeries(threshold: Int, limit: Int) {
    var search = SeriesSearch(counts: [50], goals: 1)
    var looked: [Int] = []
    var places = search.first
    while !places.isEmpty {
      for place in places {
        if place.index >= limit {
          search.passOver(place) { $0 >= limit }
        } else {
          #expect(!looked.contains(place.index))
          looked.append(place.index)
          search.note(
            SeriesSearch.Look(
              seconds: Double(place.index + 1), meets: [place.index >= threshold]), at: place)
        }
      }
      places = search.next
    }
    #expect(looked.filter { $0 >= threshold }.min() == (threshold < limit ? threshold : nil))
    if limit > 0 && threshold >= limit { #expect(looked.contains(limit - 1)) }
    #expect(looked.count <= SeriesSearch.spread + 7)
  }

  @Test func entriesThatCannotRunAreNoAnswer() {
    var search = SeriesSearch(counts: [9], goals: 1)
    for place in search.first {
      search.note(
        SeriesSearch.Look(seconds: place.index > 4 ? nil : 1, meets: [false]), at: place)
    }
    #expect(search.next.isEmpty)
  }
}
