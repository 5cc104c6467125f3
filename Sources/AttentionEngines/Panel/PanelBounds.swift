import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// The places of one key sequence that the rows of a panel see, and what they have in common.
///
/// Row `i` sees places `lower[i] ..< upper[i]`. Lanes beyond the last row repeat it, so that they
/// never make a tile look partly masked.
struct PanelBounds {
  /// `[L]` each, in the worker's scratch.
  let lower: UnsafeMutablePointer<Int32>
  let upper: UnsafeMutablePointer<Int32>
  /// Per vector of lanes: the least and greatest of `lower`, then of `upper`: `[vectors][4]`.
  let extremes: UnsafeMutablePointer<Int32>

  /// Int32s one panel needs for one sequence.
  static func size(lanes: Int, vectorLanes: Int) -> Int { 2 * lanes + 4 * (lanes / vectorLanes) }

  init(_ memory: UnsafeMutablePointer<Int32>, lanes: Int) {
    lower = memory
    upper = memory + lanes
    extremes = memory + 2 * lanes
  }

  /// Gives the lanes beyond the last row its bounds.
  func repeatLast(live: Int, lanes: Int) {
    for lane in live..<lanes {
      lower[lane] = lower[live - 1]
      upper[lane] = upper[live - 1]
    }
  }

  /// Works out the extremes once `lower` and `upper` are filled. Rows that see nothing make no
  /// claim on what a vector visits, but keep it from counting as fully visible.
  func summarise(vectors: Int, vectorLanes: Int) {
    for vector in 0..<vectors {
      var lowest = Int32.max
      var latestStart = Int32.min
      var earliestEnd = Int32.max
      var highest = Int32.min
      for lane in vector * vectorLanes..<(vector + 1) * vectorLanes {
        if lower[lane] < upper[lane] {
          lowest = min(lowest, lower[lane])
          highest = max(highest, upper[lane])
        }
        latestStart = max(latestStart, lower[lane])
        earliestEnd = min(earliestEnd, upper[lane])
      }
      let out = extremes + 4 * vector
      out[0] = lowest
      out[1] = latestStart
      out[2] = earliestEnd
      out[3] = highest
    }
  }

  /// First place some row of `vector` sees; `Int.max` when none does.
  @inline(__always) func first(_ vector: Int) -> Int { Int(extremes[4 * vector]) }
  /// First place from which on every row of `vector` sees.
  @inline(__always) func allFrom(_ vector: Int) -> Int { Int(extremes[4 * vector + 1]) }
  /// First place from which on not every row of `vector` sees.
  @inline(__always) func allUntil(_ vector: Int) -> Int { Int(extremes[4 * vector + 2]) }
  /// First place no row of `vector` sees any more.
  @inline(__always) func end(_ vector: Int) -> Int { Int(extremes[4 * vector + 3]) }
  /// `first`, rounded down to a whole grain.
  @inline(__always) func first(_ vector: Int, grain: Int) -> Int { first(vector) / grain * grain }
  /// `end`, rounded up to a whole grain.
  @inline(__always) func end(_ vector: Int, grain: Int) -> Int {
    (end(vector) + grain - 1) / grain * grain
  }
}

extension PanelBounds {
  /// Cuts the places of a block into pieces: what all rows of the panel see in one, its edges where
  /// a vector of rows begins or ceases to see, so that each piece concerns only the vectors that
  /// see some of it.
  ///
  /// - Parameters:
  ///   - vectors: vectors of lanes in use.
  ///   - tile: keys the kernel scores together. The middle piece has whole tiles only: keys rounded
  ///     away are seen through the mask.
  ///   - grain: what pieces begin and end at multiples of, as `places` must; a tile is a multiple.
  ///   - block: the place that pieces count from.
  /// - Returns: how many pieces there are; 0 when the panel sees none of the places.
  func cut(
    _ places: Range<Int>, vectors: Int, tile: Int, grain: Int = 1, block: Int,
    into pieces: UnsafeMutablePointer<attn_piece>
  ) -> Int {
    var first = Int.max
    var allFrom = 0
    var allUntil = Int.max
    var end = 0
    for vector in 0..<vectors {
      first = min(first, self.first(vector, grain: grain))
      allFrom = max(allFrom, self.allFrom(vector))
      allUntil = min(allUntil, self.allUntil(vector))
      end = max(end, self.end(vector, grain: grain))
    }
    let start = max(places.lowerBound, first)
    let stop = min(places.upperBound, end)
    if start >= stop { return 0 }
    let fullStart = allFrom <= start ? start : (allFrom + tile - 1) / tile * tile
    let fullStop = allUntil >= stop ? stop : max(allUntil, 0) / tile * tile
    var count = 0
    if fullStart >= fullStop {
      cutEdge(
        start..<stop, vectors: vectors, grain: grain, block: block, into: pieces, count: &count)
      return count
    }
    cutEdge(
      start..<fullStart, vectors: vectors, grain: grain, block: block, into: pieces, count: &count)
    pieces[count] = attn_piece(
      first: Int32(fullStart - block), count: Int32(fullStop - fullStart), first_vector: 0,
      vectors: Int32(vectors), masked: 0)
    count += 1
    cutEdge(
      fullStop..<stop, vectors: vectors, grain: grain, block: block, into: pieces, count: &count)
    return count
  }

  private func cutEdge(
    _ places: Range<Int>, vectors: Int, grain: Int, block: Int,
    into pieces: UnsafeMutablePointer<attn_piece>, count: inout Int
  ) {
    var start = places.lowerBound
    while start < places.upperBound {
      var stop = places.upperBound
      var firstVector = vectors
      var lastVector = -1
      for vector in 0..<vectors {
        let first = self.first(vector, grain: grain)
        let end = self.end(vector, grain: grain)
        if first > start { stop = min(stop, first) }
        if end > start { stop = min(stop, end) }
        if first <= start, start < end {
          firstVector = min(firstVector, vector)
          lastVector = vector
        }
      }
      if firstVector <= lastVector {
        // Usually the vectors that see a piece are the first or the last ones; any others are
        // masked away.
        if firstVector > 0 { lastVector = vectors - 1 }
        var masked = false
        for vector in firstVector...lastVector
        where allFrom(vector) > start || allUntil(vector) < stop {
          masked = true
        }
        pieces[count] = attn_piece(
          first: Int32(start - block), count: Int32(stop - start),
          first_vector: Int32(firstVector), vectors: Int32(lastVector - firstVector + 1),
          masked: masked ? ATTN_BY_BOUNDS : 0)
        count += 1
      }
      start = stop
    }
  }
}
