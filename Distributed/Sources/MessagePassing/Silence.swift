/// How long each rank has been silent, by a clock that stands still while nobody listens.
///
/// Time counts only as far as this rank has looked for signs of life: a rank that computed for a minute,
/// or was stopped and goes on, has not listened in between and must not take the others for dead.
package struct Silence {
  /// Seconds between two looks beyond which time does not count.
  let longestStep: Double
  package private(set) var seconds: [Double]
  private var lastLook: Double

  package init(ranks: Int, longestStep: Double, now: Double) {
    self.longestStep = longestStep
    seconds = Array(repeating: 0, count: ranks)
    lastLook = now
  }

  /// A rank gave a sign of life.
  package mutating func heard(_ rank: Int) { seconds[rank] = 0 }

  /// All signs of life up to now have been taken in by `heard`.
  package mutating func looked(at now: Double) {
    let step = min(max(now - lastLook, 0), longestStep)
    lastLook = now
    for rank in seconds.indices { seconds[rank] += step }
  }

  /// The rank that has been silent longest; nil where no other rank is.
  package func longest(but own: Int) -> (rank: Int, seconds: Double)? {
    seconds.enumerated().filter { $0.offset != own }
      .max { $0.element < $1.element }.map { ($0.offset, $0.element) }
  }
}
