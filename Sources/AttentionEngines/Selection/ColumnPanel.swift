import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// Some rows of a head in the lanes of a panel, which meet the keys that all of them keep, each as far as it sees
/// them: at the speed of dense attention, wherever the keys lie. What they come to goes on in `DecodedRows`.
struct ColumnPanel {
  /// Where its memory lies.
  struct Layout: Sendable {
    fileprivate let panel: ArenaPart<Float>
    /// `[ATTN_BLOCK_KEYS][L]`; `[L]` each of those that follow.
    fileprivate let weights: ArenaPart<Float>
    fileprivate let factors: ArenaPart<Float>
    fileprivate let lower: ArenaPart<Int32>
    fileprivate let upper: ArenaPart<Int32>
    fileprivate let inputRows: ArenaPart<UnsafeRawPointer>
    fileprivate let outputRows: ArenaPart<UnsafeMutablePointer<Float>>
    /// `[L][d]` queries as fp32, where they are stored as something else.
    fileprivate let copies: ArenaPart<Float>
    fileprivate let tables: KeyValueRows.Layout

    init(_ problem: AttentionProblem, _ kernels: KernelTable, in arena: inout ArenaLayout) {
      let (shape, lanes) = (problem.shape, kernels.panelLanes)
      panel = arena.add(SelectedPanel.floats(problem, kernels))
      weights = arena.add(Int(ATTN_BLOCK_KEYS) * lanes)
      factors = arena.add(lanes)
      lower = arena.add(lanes)
      upper = arena.add(lanes)
      inputRows = arena.add(lanes)
      outputRows = arena.add(lanes)
      copies = arena.add(problem.storage.query == .float32 ? 0 : lanes * shape.headDim)
      tables = KeyValueRows.Layout(
        problem, count: Int(ATTN_BLOCK_KEYS), isCopied: problem.storage.keyValue != .float32,
        in: &arena)
    }
  }

  private let problem: AttentionProblem
  private let kernels: KernelTable
  private let panel: SelectedPanel
  private let factors: UnsafeMutablePointer<Float>
  private let lower: UnsafeMutablePointer<Int32>
  private let upper: UnsafeMutablePointer<Int32>
  private let inputRows: RowPointers
  private let outputRows: UnsafeMutablePointer<UnsafeMutablePointer<Float>>
  private let copies: UnsafeMutablePointer<Float>
  private let tables: KeyValueRows

  /// - Parameter arena: outlives it.
  init(
    _ problem: AttentionProblem, _ kernels: KernelTable, _ parts: Layout,
    _ arena: borrowing Arena
  ) {
    self.problem = problem
    self.kernels = kernels
    panel = SelectedPanel(
      problem, kernels, at: arena[parts.panel], weights: arena[parts.weights])
    factors = arena[parts.factors]
    lower = arena[parts.lower]
    upper = arena[parts.upper]
    inputRows = arena[parts.inputRows]
    outputRows = arena[parts.outputRows]
    copies = arena[parts.copies]
    tables = KeyValueRows(parts.tables, arena, kernels.functions)
  }

  /// Lets rows meet the columns.
  ///
  /// - Parameters:
  ///   - columns: keys, rising.
  ///   - rows: L at most.
  ///   - first: the place of the first row in `decoded`, where the rows go on.
  func meet(
    _ columns: UnsafeBufferPointer<Int32>, _ rows: Range<Int>, _ geometry: MaskGeometry,
    _ batch: Int, _ head: Int, _ operands: AttentionOperands, into decoded: DecodedRows,
    from first: Int
  ) {
    let shape = problem.shape
    read(rows, batch, head, operands)
    let most = bound(rows, by: columns, geometry)
    let kvHead = head / shape.groupSize
    for block in stride(from: 0, to: most, by: Int(ATTN_BLOCK_KEYS)) {
      let count = min(Int(ATTN_BLOCK_KEYS), most - block)
      for place in 0..<count {
        let key = Int(columns[block + place])
        tables.keys[place] = operands.key.rowAddress(batch, kvHead, key)
        tables.values[place] = operands.value.rowAddress(batch, kvHead, key)
      }
      tables.bring(count, batch, kvHead, operands)
      let isSeen = (0..<rows.count).allSatisfy { Int(upper[$0]) >= block + count }
      panel.meet(
        count, rows: rows.count, tables, first: isSeen ? nil : block, lower: lower, upper: upper,
        prefetch: nil)
    }
    factors.update(repeating: 1, count: rows.count)
    for lane in 0..<rows.count { outputRows[lane] = decoded.output(first + lane) }
    kernels.functions.pointee.unpack(
      panel.output, factors, nil, Int32(rows.count), Int32(shape.valueDim), outputRows)
    for lane in 0..<rows.count {
      decoded.go(
        on: first + lane,
        from: SoftmaxState(maximum: panel.maxima[lane], sum: panel.sums[lane]))
    }
  }

  /// Packs the queries; nothing has been seen.
  private func read(
    _ rows: Range<Int>, _ batch: Int, _ head: Int, _ operands: AttentionOperands
  ) {
    let query = operands.query
    for (lane, row) in rows.enumerated() {
      inputRows[lane] = query.rowAddress(batch, head, row)
    }
    if query.elementType != .float32 {
      inputRows.widen(
        count: rows.count, columns: problem.shape.headDim, storage: query.elementType.storage,
        into: copies, kernels.functions)
    }
    panel.pack(inputRows, count: rows.count)
    panel.clear()
  }

  /// How many of the columns each row sees, the first ones.
  ///
  /// - Returns: the most.
  private func bound(
    _ rows: Range<Int>, by columns: UnsafeBufferPointer<Int32>, _ geometry: MaskGeometry
  ) -> Int {
    let lanes = kernels.panelLanes
    lower.update(repeating: 0, count: lanes)
    upper.update(repeating: 0, count: lanes)
    var (seen, most) = (0, 0)
    for (lane, row) in rows.enumerated() {
      let end = geometry.visible(from: row + geometry.offset).count
      if seen > 0, columns[seen - 1] >= end { seen = 0 }
      while seen < columns.count, columns[seen] < end { seen += 1 }
      upper[lane] = Int32(seen)
      most = max(most, seen)
    }
    return most
  }
}
