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
}
