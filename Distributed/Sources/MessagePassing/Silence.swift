/// How long each rank has been silent, and how long it has not moved on, by a clock that stands still while
/// nobody listens.
///
/// Time counts only as far as this rank has looked for signs of life: one that was stopped for a minute and
/// goes on has not listened in between, and must not take the others for dead.
package struct Silence {
  /// Seconds between two looks beyond which time does not count.
  let longestStep: Double
  /// Since each rank gave a sign of life.
  package private(set) var seconds: [Double]
  /// Since each rank's count of what it did changed.
  package private(set) var still: [Double]
  private var counts: [UInt64]
  private var lastLook: Double

  package init(ranks: Int, longestStep: Double, now: Double) {
    self.longestStep = longestStep
    seconds = Array(repeating: 0, count: ranks)
    still = seconds
    counts = Array(repeating: 0, count: ranks)
    lastLook = now
  }

  /// A rank gave a sign of life, with the count of what it did.
  package mutating func heard(_ rank: Int, count: UInt64) {
    seconds[rank] = 0
    if counts[rank] != count { still[rank] = 0 }
    counts[rank] = count
  }

  /// All signs of life up to now have been taken in by `heard`.
  package mutating func looked(at now: Double) {
    let step = min(max(now - lastLook, 0), longestStep)
    lastLook = now
    for rank in seconds.indices {
      seconds[rank] += step
      still[rank] += step
    }
  }

  /// The rank with the largest of some times; nil where no other rank is.
  package static func longest(_ times: [Double], but own: Int) -> (rank: Int, seconds: Double)? {
    times.enumerated().filter { $0.offset != own }
      .max { $0.element < $1.element }.map { ($0.offset, $0.element) }
  }
}
