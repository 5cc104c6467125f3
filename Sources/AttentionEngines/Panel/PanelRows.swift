import AttentionContract
import AttentionKernels
import Tensors

/// The query rows in the lanes of one panel.
///
/// Lanes enumerate the query heads that share a key/value head before they move to the next row,
/// so that a panel spans few positions, and decoding with one row still fills lanes.
package struct PanelRows {
  /// First of the query heads that share the key/value head.
  private let firstHead: Int
  private let groupSize: Int
  /// Query row and group member of lane 0.
  private let first: (row: Int, member: Int)
  private let rowStride: Int
  /// Lanes in use.
  let live: Int

  /// The rows of panel `panel` among those at `firstRow`, `firstRow + rowStride`, ...
  ///
  /// - Parameter total: rows times query heads that there are.
  package init(
    panel: Int, lanes: Int, total: Int, kvHead: Int, groupSize: Int, firstRow: Int = 0,
    rowStride: Int = 1
  ) {
    let lane = panel * lanes
    firstHead = kvHead * groupSize
    self.groupSize = groupSize
    first = (firstRow + lane / groupSize * rowStride, lane % groupSize)
    self.rowStride = rowStride
    live = min(lanes, total - lane)
  }

  /// The panel's rows from the first to the last, and the heads they are rows of; some of the first
  /// and of the last row's heads may belong to a neighbouring panel.
  var covered: (heads: Range<Int>, rows: Range<Int>) {
    let last = first.row + (first.member + live - 1) / groupSize * rowStride
    return (firstHead..<firstHead + groupSize, first.row..<last + 1)
  }

  /// Calls `body(lane, head, row)` for every lane in use.
  @inline(__always)
  func forEach(_ body: (_ lane: Int, _ head: Int, _ row: Int) -> Void) {
    var (row, member) = first
    for lane in 0..<live {
      body(lane, firstHead + member, row)
      member += 1
      if member == groupSize {
        member = 0
        row += rowStride
      }
    }
  }
}
