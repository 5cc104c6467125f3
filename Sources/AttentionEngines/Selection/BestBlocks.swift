/// The best of some scores: a heap of those kept so far, the worst on top.
///
/// Candidates come in the order of their blocks, so that of equal scores the earlier stays. A NaN is
/// better than any number.
struct BestBlocks {
  private let scores: UnsafeMutablePointer<Float>
  private let blocks: UnsafeMutablePointer<Int32>
  private let limit: Int
  private var count = 0

  /// - Parameter scores, blocks: `[limit]`, memory to work in.
  init(
    limit: Int, scores: UnsafeMutablePointer<Float>, blocks: UnsafeMutablePointer<Int32>
  ) {
    (self.limit, self.scores, self.blocks) = (limit, scores, blocks)
  }

  /// Offers a block, which must come after all that were offered before.
  @inline(__always)
  mutating func offer(_ score: Float, _ block: Int) {
    let score = score.isNaN ? Float.infinity : score
    if count < limit {
      (scores[count], blocks[count]) = (score, Int32(block))
      count += 1
      rise(count - 1)
    } else if limit > 0, score > scores[0] {
      (scores[0], blocks[0]) = (score, Int32(block))
      sink(0, count)
    }
  }

  /// The blocks kept, rising; they lie where the memory for blocks is.
  mutating func sorted() -> UnsafeBufferPointer<Int32> {
    // Floyd 1964: a heap with the last block on top, taken apart. The library's sort may allocate.
    for place in (0..<count / 2).reversed() { sinkBlock(place, count) }
    for end in (0..<count).reversed() {
      (blocks[0], blocks[end]) = (blocks[end], blocks[0])
      sinkBlock(0, end)
    }
    return UnsafeBufferPointer(start: blocks, count: count)
  }

  private func sinkBlock(_ place: Int, _ count: Int) {
    var place = place
    while 2 * place + 1 < count {
      var child = 2 * place + 1
      if child + 1 < count, blocks[child + 1] > blocks[child] { child += 1 }
      if blocks[child] <= blocks[place] { return }
      (blocks[child], blocks[place]) = (blocks[place], blocks[child])
      place = child
    }
  }

  /// Whether one place is worse than another: lower, or as high and later.
  private func isWorse(_ a: Int, _ b: Int) -> Bool {
    scores[a] < scores[b] || scores[a] == scores[b] && blocks[a] > blocks[b]
  }

  private func swapPlaces(_ a: Int, _ b: Int) {
    (scores[a], scores[b]) = (scores[b], scores[a])
    (blocks[a], blocks[b]) = (blocks[b], blocks[a])
  }

  private func rise(_ place: Int) {
    var place = place
    while place > 0, isWorse(place, (place - 1) / 2) {
      swapPlaces(place, (place - 1) / 2)
      place = (place - 1) / 2
    }
  }

  private func sink(_ place: Int, _ count: Int) {
    var place = place
    while 2 * place + 1 < count {
      var child = 2 * place + 1
      if child + 1 < count, isWorse(child + 1, child) { child += 1 }
      if !isWorse(child, place) { return }
      swapPlaces(place, child)
      place = child
    }
  }
}
