import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// Rows as decoding has them, vectors along their columns: for groups too small to fill lanes.
final class SelectedFewRows: SelectedAttender {
  /// More rows than this fill a vector of lanes well enough.
  static let most = 4

  /// Where its memory lies.
  struct Layout: Sendable {
    fileprivate let rows: DecodedRows.Layout

    init(_ layout: SelectionLayout, in arena: inout ArenaLayout) {
      rows = DecodedRows.Layout(
        layout.problem, places: SelectedFewRows.most, together: SelectedFewRows.most,
        keys: Int(ATTN_BLOCK_KEYS), in: &arena)
    }
  }

  private let decoded: DecodedRows

  var tables: KeyValueRows { decoded.tables }

  /// - Parameter arena: outlives it.
  init(_ layout: SelectionLayout, _ parts: Layout, _ arena: borrowing Arena) {
    decoded = DecodedRows(layout.problem, parts.rows, arena, layout.kernels.functions)
  }

  /// Its kernel prefetches by distance.
  var prefetches: Bool { false }

  func begin(_ rows: SelectedGroup, _ operands: AttentionOperands) {
    for (place, row) in rows.group.rows.enumerated() {
      decoded.read(operands.query, rows.batch, rows.head, row, into: place)
    }
  }

  func meet(
    _ count: Int, first: Int?, _ rows: SelectedGroup, _ operands: AttentionOperands,
    prefetch: UnsafeMutablePointer<attn_prefetch_list>
  ) {
    if let first {
      for (place, row) in rows.group.rows.enumerated() {
        decoded.upper[place] = Int32(min(max(rows.end(of: row) - first, 0), count))
      }
    }
    tables.bring(count, rows.batch, rows.kvHead, operands)
    decoded.meet(count, places: 0..<rows.group.rows.count, isBounded: first != nil)
  }

  func finish(_ rows: SelectedGroup, _ operands: AttentionOperands) {
    for (place, row) in rows.group.rows.enumerated() {
      decoded.store(place, rows.batch, rows.head, row, operands)
    }
  }
}
