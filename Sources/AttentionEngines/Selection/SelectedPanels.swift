import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// Rows in the lanes of panels: for groups that fill them.
final class SelectedPanels: SelectedAttender {
  /// Where its memory lies.
  struct Layout: Sendable {
    /// `[panels]` panels of queries, output, maxima and sums.
    fileprivate let panels: ArenaPart<Float>
    /// `[ATTN_BLOCK_KEYS][L]`.
    fileprivate let weights: ArenaPart<Float>
    fileprivate let factors: ArenaPart<Float>
    fileprivate let tables: KeyValueRows.Layout
    /// `[L][max(d, dV)]` rows as fp32.
    fileprivate let rowCopies: ArenaPart<Float>
    fileprivate let inputRows: ArenaPart<UnsafeRawPointer>
    fileprivate let outputRows: ArenaPart<UnsafeMutablePointer<Float>>
    fileprivate let storedRows: ArenaPart<UnsafeMutableRawPointer>
    fileprivate let lower: ArenaPart<Int32>
    fileprivate let upper: ArenaPart<Int32>

    init(_ layout: SelectionLayout, in arena: inout ArenaLayout) {
      let (shape, lanes) = (layout.problem.shape, layout.kernels.panelLanes)
      let keys = Int(ATTN_BLOCK_KEYS)
      panels = arena.add(layout.panels * SelectedPanel.floats(layout.problem, layout.kernels))
      weights = arena.add(keys * lanes)
      factors = arena.add(lanes)
      tables = KeyValueRows.Layout(
        layout.problem, count: keys, isCopied: layout.problem.storage.keyValue != .float32,
        in: &arena)
      rowCopies = arena.add(
        layout.problem.storage.rowsAreFloat32 ? 0 : lanes * max(shape.headDim, shape.valueDim))
      inputRows = arena.add(lanes)
      outputRows = arena.add(lanes)
      storedRows = arena.add(lanes)
      lower = arena.add(lanes)
      upper = arena.add(lanes)
    }
  }

  private let layout: SelectionLayout
  private let functions: UnsafePointer<attn_kernels>
  private let lanes: Int
  private let panels: UnsafeMutablePointer<Float>
  private let weights: UnsafeMutablePointer<Float>
  private let factors: UnsafeMutablePointer<Float>
  let tables: KeyValueRows
  private let rowCopies: UnsafeMutablePointer<Float>
  private let inputRows: RowPointers
  private let outputRows: UnsafeMutablePointer<UnsafeMutablePointer<Float>>
  private let storedRows: UnsafeMutablePointer<UnsafeMutableRawPointer>
  private let lower: UnsafeMutablePointer<Int32>
  private let upper: UnsafeMutablePointer<Int32>

  /// - Parameter arena: outlives it.
  init(_ layout: SelectionLayout, _ parts: Layout, _ arena: borrowing Arena) {
    self.layout = layout
    functions = layout.kernels.functions
    lanes = layout.kernels.panelLanes
    panels = arena[parts.panels]
    weights = arena[parts.weights]
    factors = arena[parts.factors]
    tables = KeyValueRows(parts.tables, arena, functions)
    rowCopies = arena[parts.rowCopies]
    inputRows = arena[parts.inputRows]
    outputRows = arena[parts.outputRows]
    storedRows = arena[parts.storedRows]
    lower = arena[parts.lower]
    upper = arena[parts.upper]
  }

  private var shape: AttentionShape { layout.problem.shape }

  var prefetches: Bool { true }

  private func panel(_ index: Int) -> SelectedPanel {
    SelectedPanel(
      layout.problem, layout.kernels,
      at: panels + index * SelectedPanel.floats(layout.problem, layout.kernels), weights: weights)
  }

  /// Calls `body` with the panels of a group and their rows.
  private func forEachPanel(_ rows: SelectedGroup, _ body: (SelectedPanel, Range<Int>) -> Void) {
    let all = rows.group.rows
    for (index, first) in stride(
      from: all.lowerBound, to: all.upperBound, by: layout.panelRows
    ).enumerated() {
      body(panel(index), first..<min(first + layout.panelRows, all.upperBound))
    }
  }

  func begin(_ rows: SelectedGroup, _ operands: AttentionOperands) {
    let query = operands.query
    forEachPanel(rows) { panel, range in
      for (lane, row) in range.enumerated() {
        inputRows[lane] = query.rowAddress(rows.batch, rows.head, row)
      }
      if query.elementType != .float32 {
        inputRows.widen(
          count: range.count, columns: shape.headDim, storage: query.elementType.storage,
          into: rowCopies, functions)
      }
      panel.pack(inputRows, count: range.count)
      panel.clear()
    }
  }

  func meet(
    _ count: Int, first: Int?, _ rows: SelectedGroup, _ operands: AttentionOperands,
    prefetch: UnsafeMutablePointer<attn_prefetch_list>
  ) {
    tables.bring(count, rows.batch, rows.kvHead, operands)
    forEachPanel(rows) { panel, range in
      if first != nil {
        for lane in 0..<lanes {
          lower[lane] = 0
          upper[lane] = Int32(rows.end(of: min(range.lowerBound + lane, range.upperBound - 1)))
        }
      }
      panel.meet(
        count, rows: range.count, tables, first: first, lower: lower, upper: upper,
        prefetch: prefetch)
    }
  }

  func finish(_ rows: SelectedGroup, _ operands: AttentionOperands) {
    let type = operands.output.reading.elementType
    forEachPanel(rows) { panel, range in
      for (lane, row) in range.enumerated() {
        var state = SoftmaxState(maximum: panel.maxima[lane], sum: panel.sums[lane])
        if let sinks = layout.problem.scoring.sinkLogits {
          _ = state.add(sink: sinks[rows.head] * Float.log16e)
        }
        factors[lane] = state.factor
        operands.logSumExp?.row(rows.batch, rows.head, row)[0] = state.naturalLogSumExp
        storedRows[lane] = operands.output.rowAddress(rows.batch, rows.head, row)
        outputRows[lane] =
          type == .float32
          ? operands.output.row(rows.batch, rows.head, row) : rowCopies + lane * shape.valueDim
      }
      (factors + range.count).update(repeating: 0, count: lanes - range.count)
      functions.pointee.unpack(
        panel.output, factors, nil, Int32(range.count), Int32(shape.valueDim), outputRows)
      if type != .float32 {
        outputRows.narrow(
          count: range.count, columns: shape.valueDim, storage: type.storage, into: storedRows,
          functions)
      }
    }
  }
}
