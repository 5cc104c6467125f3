import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// Finds the columns and diagonals that a head's last queries attend to.
///
/// Unchecked: every task has its own head.
final class StripeSelector: KeySelector, @unchecked Sendable {
  private struct Layout {
    var arena = ArenaLayout()
    /// `[b * h]`.
    let columns: KeptLists.Layout
    let diagonals: KeptLists.Layout
    /// `[b * h][nKV]`, 1 where a key is a column.
    let isColumn: ArenaPart<UInt8>

    init(_ selection: StripeSelection, _ shape: AttentionShape) {
      let heads = shape.batch * shape.heads
      columns = KeptLists.Layout(
        heads, most: min(selection.columns, shape.keyLength), in: &arena)
      diagonals = KeptLists.Layout(
        heads, most: min(selection.diagonals, shape.keyLength + selection.rows), in: &arena)
      isColumn = arena.add(heads * shape.keyLength)
    }
  }

  private struct ScratchLayout {
    var arena = ArenaLayout()
    /// `[rows][d]` queries as fp32, `[L][d]` keys, `[d][L]` the same with keys in lanes.
    let queries: ArenaPart<Float>
    let keys: ArenaPart<Float>
    let panel: ArenaPart<Float>
    /// `[rows][stride]` weights between zeros, in which diagonals begin and end; `[stride]` sums.
    let weights: ArenaPart<Float>
    let sums: ArenaPart<Float>
    /// Of the choice.
    let scores: ArenaPart<Float>
    let best: ArenaPart<Int32>
    /// `[max(rows, L)]`.
    let pointers: ArenaPart<UnsafeRawPointer>
    let rows: Int
    /// Zeros before the first weight of a row, and floats from a row to the next.
    let margin: Int
    let stride: Int

    init(_ selection: StripeSelection, _ layout: KeptKeysLayout) {
      let (shape, lanes) = (layout.problem.shape, layout.kernels.panelLanes)
      rows = min(selection.rows, shape.queryLength)
      margin = rows
      stride = 2 * margin + (shape.keyLength + lanes - 1) / lanes * lanes + lanes
      queries = arena.add(rows * shape.headDim)
      keys = arena.add(lanes * shape.headDim)
      panel = arena.add(lanes * shape.headDim)
      // Diagonals are read from one row to the next, a float further in each.
      weights = arena.add((rows + 1) * stride + 2 * lanes)
      sums = arena.add(stride + lanes)
      let room = BestKeys.room(
        max(
          min(selection.columns, shape.keyLength),
          min(selection.diagonals, shape.keyLength + selection.rows)),
        offered: StripeSelector.offered)
      scores = arena.add(room)
      best = arena.add(room)
      pointers = arena.add(max(rows, lanes))
    }
  }

  /// Sums that are offered at a time.
  private static let offered = 1024

  static func bytes(_ selection: StripeSelection, _ layout: KeptKeysLayout) -> Int {
    Layout(selection, layout.problem.shape).arena.bytes
      + layout.threads * ScratchLayout(selection, layout).arena.bytes
  }

  private let selection: StripeSelection
  private let problem: AttentionProblem
  private let kernels: KernelTable
  private let scratchParts: ScratchLayout
  private let arena: Arena
  private let columns: KeptLists
  private let diagonals: KeptLists
  private let isColumn: UnsafeMutablePointer<UInt8>
  private let scratch: PerWorker<Scratch>

  private final class Scratch {
    let arena: Arena

    init(_ layout: ScratchLayout) throws(AttentionError) { arena = try Arena(layout.arena) }
  }

  init(_ selection: StripeSelection, _ layout: KeptKeysLayout) throws(AttentionError) {
    self.selection = selection
    problem = layout.problem
    kernels = layout.kernels
    let parts = Layout(selection, layout.problem.shape)
    let scratchParts = ScratchLayout(selection, layout)
    self.scratchParts = scratchParts
    arena = try Arena(parts.arena, for: "columns and diagonals")
    columns = KeptLists(parts.columns, arena)
    diagonals = KeptLists(parts.diagonals, arena)
    isColumn = arena[parts.isColumn]
    scratch = try PerWorker(layout.threads) { () throws(AttentionError) -> Scratch in
      try Scratch(scratchParts)
    }
  }

  private var shape: AttentionShape { problem.shape }
  private var functions: UnsafePointer<attn_kernels> { kernels.functions }

  let preparations = 1
  var rowsAtATime: Int { max(shape.queryLength, 1) }

  // MARK: Finding

  func tasks(preparing stage: Int) -> Int { shape.batch * shape.heads }

  func prepare(_ stage: Int, task: Int, _ operands: AttentionOperands, worker: Int) {
    let (batch, head) = task.quotientAndRemainder(dividingBy: shape.heads)
    let geometry = problem.geometry(batch: batch, in: operands)
    let rows = selection.decidingRows(geometry)
    if rows.isEmpty || selection.keepsAll(geometry) { return }
    let scratch = scratch[worker]
    score(rows, geometry, batch, head, operands, scratch)
    weigh(rows, geometry, head, scratch)
    let weights = scratch.arena[scratchParts.weights]
    let (sums, stride) = (scratch.arena[scratchParts.sums], scratchParts.stride)
    let length = geometry.keyLength
    if !sum(weights + scratchParts.margin, stride: stride, rows.count, length, scratch) {
      return columns.spoil(task)
    }
    choose(selection.columns, of: length, scratch, into: columns, task)
    let isColumn = isColumn + task * shape.keyLength
    isColumn.update(repeating: 0, count: length)
    for column in columns[task] ?? UnsafeBufferPointer(start: nil, count: 0) {
      isColumn[Int(column)] = 1
    }
    // Diagonal t meets key t of the last row and a key before that in each row before.
    let count = length + rows.count - 1
    let first = weights + scratchParts.margin - (rows.count - 1)
    _ = sum(first, stride: stride + 1, rows.count, count, scratch)
    let own = geometry.offset + rows.upperBound - 1
    if (0..<count).contains(own) { sums[own] = .infinity }
    choose(selection.diagonals, of: count, scratch, into: diagonals, task)
  }

  /// Products of the deciding rows with all keys.
  private func score(
    _ rows: Range<Int>, _ geometry: MaskGeometry, _ batch: Int, _ head: Int,
    _ operands: AttentionOperands, _ scratch: Scratch
  ) {
    let (lanes, headDim) = (kernels.panelLanes, shape.headDim)
    let pointers = scratch.arena[scratchParts.pointers]
    let queries = scratch.arena[scratchParts.queries]
    let (query, key, kvHead) = (operands.query, operands.key, head / shape.groupSize)
    for (index, row) in rows.enumerated() {
      pointers[index] = query.rowAddress(batch, head, row)
    }
    pointers.widen(
      count: rows.count, columns: headDim, storage: query.elementType.storage, into: queries,
      functions)
    if problem.scale < 0 { functions.pointee.scale_row(queries, Int64(rows.count * headDim), -1) }
    for first in stride(from: 0, to: geometry.keyLength, by: lanes) {
      let count = min(lanes, geometry.keyLength - first)
      for lane in 0..<count { pointers[lane] = key.rowAddress(batch, kvHead, first + lane) }
      pointers.bring(
        count, of: key, batch, kvHead, by: scratch.arena[scratchParts.keys], functions)
      let panel = scratch.arena[scratchParts.panel]
      functions.pointee.pack(pointers.floats, Int32(count), Int32(headDim), 1, panel)
      functions.pointee.product(
        queries, Int64(headDim), Int32(rows.count), Int32(headDim), panel, Int64(lanes),
        Int32((count + kernels.vectorLanes - 1) / kernels.vectorLanes), ATTN_RECTANGLE, 0,
        scratch.arena[scratchParts.weights] + scratchParts.margin + first,
        Int64(scratchParts.stride))
    }
  }

  /// Scores become weights; what a row does not see becomes 0.
  private func weigh(
    _ rows: Range<Int>, _ geometry: MaskGeometry, _ head: Int, _ scratch: Scratch
  ) {
    let (margin, stride) = (scratchParts.margin, scratchParts.stride)
    for (index, row) in rows.enumerated() {
      let weights = scratch.arena[scratchParts.weights] + index * stride
      let own = weights + margin
      let visible = Int64(geometry.visible(from: row + geometry.offset).count)
      var maximum: Float = 0
      var factor: Float = 0
      if visible > 0 {
        var scale = abs(problem.scale)
        if let cap = problem.scoring.softcap {
          functions.pointee.softcap_row(own, visible, scale, cap)
          scale = 1
        }
        // A scale of 0 weighs all alike.
        if scale == 0 {
          own.update(repeating: 0, count: Int(visible))
          scale = 1
        }
        let sum = functions.pointee.softmax_row(own, visible, scale * Float.log16e, &maximum)
        var state = SoftmaxState(maximum: maximum, sum: sum)
        if let sinks = problem.scoring.sinkLogits {
          _ = state.add(sink: sinks[head] * Float.log16e)
        }
        factor = state.factor
      }
      functions.pointee.scale_row(own, visible, factor)
      weights.update(repeating: 0, count: margin)
      (own + Int(visible)).update(repeating: 0, count: stride - margin - Int(visible))
    }
  }

  /// Sums rows of weights.
  ///
  /// - Returns: whether there is no NaN among the sums.
  private func sum(
    _ weights: UnsafePointer<Float>, stride: Int, _ rows: Int, _ count: Int, _ scratch: Scratch
  ) -> Bool {
    let sums = scratch.arena[scratchParts.sums]
    let lanes = kernels.vectorLanes
    let whole = (count + lanes - 1) / lanes * lanes
    sums.update(repeating: 0, count: whole)
    functions.pointee.add_rows(weights, Int64(stride), Int32(rows), Int32(whole), sums, nil)
    for place in 0..<count where sums[place].isNaN { return false }
    return true
  }

  /// Writes down the places with the best sums.
  private func choose(
    _ top: Int, of count: Int, _ scratch: Scratch, into lists: KeptLists, _ list: Int
  ) {
    let sums = scratch.arena[scratchParts.sums]
    let top = min(top, count)
    var best = BestKeys(
      top: top, scores: scratch.arena[scratchParts.scores], keys: scratch.arena[scratchParts.best],
      functions)
    for first in stride(from: 0, to: count, by: Self.offered) {
      best.offer(sums + first, first: first, count: min(Self.offered, count - first))
    }
    _ = best.finish()
    lists.write(best.keys, best.count, to: list)
  }

  // MARK: Attending

  var lists: KeptLists? { nil }

  func tasks(selecting rows: Range<Int>) -> Int { 0 }
  func select(rows: Range<Int>, task: Int, _ operands: AttentionOperands, worker: Int) {}

  func columns(
    _ batch: Int, _ head: Int, _ operands: AttentionOperands
  ) -> UnsafeBufferPointer<Int32>? {
    let place = batch * shape.heads + head
    let keepsAll = selection.keepsAll(problem.geometry(batch: batch, in: operands))
    return keepsAll || diagonals[place] == nil ? nil : columns[place]
  }

  /// Keys on diagonals that a row sees, without those in columns.
  func keys(
    of row: Int, among rows: Range<Int>, _ batch: Int, _ head: Int,
    _ operands: AttentionOperands, memory: UnsafeMutablePointer<Int32>
  ) -> UnsafeBufferPointer<Int32>? {
    let geometry = problem.geometry(batch: batch, in: operands)
    let end = geometry.visible(from: row + geometry.offset).count
    if selection.keepsAll(geometry) {
      for key in 0..<end { memory[key] = Int32(key) }
      return UnsafeBufferPointer(start: memory, count: end)
    }
    let place = batch * shape.heads + head
    guard columns[place] != nil, let diagonals = diagonals[place] else {
      return end == 0 ? UnsafeBufferPointer(start: memory, count: 0) : nil
    }
    // From the last row to this one diagonals have moved.
    let shift = row - (geometry.queryLength - 1)
    let isColumn = isColumn + place * shape.keyLength
    var count = 0
    for diagonal in diagonals {
      let key = Int(diagonal) + shift
      if key >= end { break }
      if key < 0 || isColumn[key] != 0 { continue }
      memory[count] = Int32(key)
      count += 1
    }
    return UnsafeBufferPointer(start: memory, count: count)
  }
}
