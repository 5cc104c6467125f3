import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// One worker's softmax of a few rows, or of rows of one head, over keys that each row keeps for itself.
///
/// Rows of a task meet the keys part by part of the sequence: what is kept of a part is read from memory once
/// for all of them and lies in the second-level cache for the others. Query heads that keep the same keys of
/// one key/value head share the loads, too.
final class KeptRows {
  /// Rows of a task, heads counted.
  private static let mostRows = 64
  /// Heads that meet keys together at most.
  private static let mostHeads = 8
  /// Bytes of keys and values of a part, about half of a second-level cache.
  private static let partBytes = 1 << 19

  /// Where its memory lies.
  struct Layout: Sendable {
    private(set) var arena = ArenaLayout()
    fileprivate let decoded: DecodedRows.Layout
    fileprivate let columns: ColumnPanel.Layout?
    /// `[rows]` lists of keys, and how far they have been met; `[rows][mostWritten]` for those that are not
    /// written down elsewhere.
    fileprivate let lists: ArenaPart<UnsafeBufferPointer<Int32>?>
    fileprivate let places: ArenaPart<Int>
    fileprivate let written: ArenaPart<Int32>
    fileprivate let heads: Int
    fileprivate let rows: Int
    fileprivate let mostWritten: Int

    init(_ layout: KeptKeysLayout, _ method: any KeySelectionMethod) {
      let (problem, shape) = (layout.problem, layout.problem.shape)
      heads = method.sharedLists(problem) != nil ? min(shape.groupSize, KeptRows.mostHeads) : 1
      let lanes = layout.kernels.panelLanes
      let most =
        method.hasColumns ? max(1, KeptRows.mostRows / lanes) * lanes : KeptRows.mostRows / heads
      rows = min(max(most, 1), shape.queryLength)
      mostWritten = method.mostWritten(problem)
      decoded = DecodedRows.Layout(
        problem, places: rows * heads, together: heads, keys: Int(ATTN_DECODE_KEYS), in: &arena)
      columns =
        method.hasColumns ? ColumnPanel.Layout(problem, layout.kernels, in: &arena) : nil
      lists = arena.add(rows)
      places = arena.add(rows)
      written = arena.add(rows * mostWritten)
    }
  }

  private let problem: AttentionProblem
  private let parts: Layout
  private let arena: Arena
  private let decoded: DecodedRows
  private let columnPanel: ColumnPanel?
  private let panelLanes: Int
  /// Keys of a part.
  private let partKeys: Int

  init(_ layout: KeptKeysLayout, _ method: any KeySelectionMethod) throws(AttentionError) {
    problem = layout.problem
    parts = Layout(layout, method)
    arena = try Arena(parts.arena)
    decoded = DecodedRows(problem, parts.decoded, arena, layout.kernels.functions)
    if let columns = parts.columns {
      columnPanel = ColumnPanel(problem, layout.kernels, columns, arena)
    } else {
      columnPanel = nil
    }
    panelLanes = layout.kernels.panelLanes
    let (shape, type) = (problem.shape, problem.storage.keyValue)
    let rowBytes = type.rowBytes(columns: shape.headDim) + type.rowBytes(columns: shape.valueDim)
    partKeys = max(64, Self.partBytes / rowBytes / 64 * 64)
  }

  /// Heads of a group, in parts.
  private var headParts: Int { (problem.shape.groupSize + parts.heads - 1) / parts.heads }

  /// Tasks of a sequence for the same rows.
  var headTasks: Int { problem.shape.kvHeads * headParts }

  /// Tasks of some rows for the same heads.
  func rowTasks(_ rows: Range<Int>) -> Int { (rows.count + parts.rows - 1) / parts.rows }

  /// Lets the rows of a task attend.
  func attend(
    _ task: Int, _ all: Range<Int>, _ operands: AttentionOperands, _ selector: any KeySelector
  ) {
    let (place, chunk) = task.quotientAndRemainder(dividingBy: rowTasks(all))
    let (batch, headTask) = place.quotientAndRemainder(dividingBy: headTasks)
    let (kvHead, part) = headTask.quotientAndRemainder(dividingBy: headParts)
    let group = problem.shape.groupSize
    let first = kvHead * group + part * parts.heads
    let heads = first..<min(first + parts.heads, (kvHead + 1) * group)
    attend(batch, heads, chunk, all, operands, selector)
  }

  /// Lets as many rows as it has room for attend, those of a chunk of all.
  ///
  /// - Parameter heads: of one group.
  func attend(
    _ batch: Int, _ heads: Range<Int>, _ chunk: Int, _ all: Range<Int>,
    _ operands: AttentionOperands, _ selector: any KeySelector
  ) {
    let kvHead = heads.lowerBound / problem.shape.groupSize
    let geometry = problem.geometry(batch: batch, in: operands)
    let start = all.lowerBound + chunk * parts.rows
    let end = min(start + parts.rows, all.upperBound, geometry.queryLength)
    if start >= end { return }
    let rows = start..<end
    let (lists, places) = (arena[parts.lists], arena[parts.places])
    for (index, row) in rows.enumerated() {
      lists[index] = selector.keys(
        of: row, among: all, batch, heads.lowerBound, operands,
        memory: arena[parts.written] + index * parts.mostWritten)
      places[index] = 0
      for (lane, head) in heads.enumerated() {
        decoded.read(operands.query, batch, head, row, into: index * heads.count + lane)
      }
    }
    let columns = columnPanel.flatMap { panel in
      selector.columns(batch, heads.lowerBound, operands).map { (panel, keys: $0) }
    }
    if let (panel, keys) = columns {
      for first in stride(from: start, to: end, by: panelLanes) {
        panel.meet(
          keys, first..<min(first + panelLanes, end), geometry, batch, heads.lowerBound, operands,
          into: decoded, from: first - start)
      }
    }
    // What rows keep beside columns are few keys.
    let partKeys = columns == nil ? partKeys : max(geometry.keyLength, 1)
    for part in stride(from: 0, to: geometry.keyLength, by: partKeys) {
      for index in rows.indices {
        let index = index - rows.lowerBound
        guard let keys = lists[index] else { continue }
        meet(keys, from: index, before: part + partKeys, heads.count, batch, kvHead, operands)
      }
    }
    for (index, row) in rows.enumerated() {
      for (lane, head) in heads.enumerated() {
        if lists[index] == nil {
          decoded.storeNaN(batch, head, row, operands)
        } else {
          decoded.store(index * heads.count + lane, batch, head, row, operands)
        }
      }
    }
  }

  /// Lets a row meet the keys of its list before a key that it has not met.
  private func meet(
    _ keys: UnsafeBufferPointer<Int32>, from index: Int, before end: Int, _ heads: Int,
    _ batch: Int, _ kvHead: Int, _ operands: AttentionOperands
  ) {
    let (places, tables) = (arena[parts.places], decoded.tables)
    while true {
      var count = 0
      while count < Int(ATTN_DECODE_KEYS), places[index] < keys.count,
        Int(keys[places[index]]) < end
      {
        let key = Int(keys[places[index]])
        tables.keys[count] = operands.key.rowAddress(batch, kvHead, key)
        tables.values[count] = operands.value.rowAddress(batch, kvHead, key)
        count += 1
        places[index] += 1
      }
      if count == 0 { return }
      tables.bring(count, batch, kvHead, operands)
      decoded.meet(count, places: index * heads..<(index + 1) * heads)
    }
  }
}
