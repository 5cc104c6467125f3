import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// Finds the keys that the scores of an index prefer.
///
/// First the keys are put into lanes. Then some rows at a time are scored against keys that fit the
/// second-level cache, and what beats a limit is set aside for each row: scores are not kept. The limit comes
/// from the scores of a sample of the keys; where it was too high, as it can be where keys that score alike
/// stand in the order of the sample, the row is scored once more without one.
///
/// Unchecked: every task has its own rows.
final class IndexSelector: KeySelector, @unchecked Sendable {
  /// Rows of a sequence that are selected for at a time, and rows of a task.
  static let turnRows = 1024
  private static let taskRows = 32
  /// Panels of keys that a task's rows meet before what they scored is looked through.
  private static let tilePanels = 8

  private struct Layout {
    var arena = ArenaLayout()
    /// `[b][turnRows]`.
    let kept: KeptLists.Layout
    let rows: Int

    init(_ selection: IndexSelection, _ shape: AttentionShape) {
      let lists = selection.lists(shape)
      rows = lists.rows
      kept = KeptLists.Layout(shape.batch * rows, most: lists.most, in: &arena)
    }
  }

  private struct ScratchLayout {
    var arena = ArenaLayout()
    /// `[taskRows][tile]` and `[taskRows][samples]` scores.
    let tile: ArenaPart<Float>
    let sample: ArenaPart<Float>
    /// `[taskRows][room]`, and `[L]` rows of keys.
    let scores: ArenaPart<Float>
    let keys: ArenaPart<Int32>
    let rows: ArenaPart<UnsafeRawPointer>
    let room: Int
    let tileKeys: Int
    let sampleKeys: Int

    init(_ selection: IndexSelection, _ layout: KeptKeysLayout) {
      let lanes = layout.kernels.panelLanes
      let keyLayout = IndexKeys.Layout(selection, layout.problem.shape, layout.kernels)
      tileKeys = IndexSelector.tilePanels * lanes
      sampleKeys = keyLayout.samplePanels * lanes
      room = BestKeys.room(min(selection.top, layout.problem.shape.keyLength), offered: tileKeys)
      tile = arena.add(IndexSelector.taskRows * tileKeys)
      sample = arena.add(IndexSelector.taskRows * sampleKeys)
      scores = arena.add(IndexSelector.taskRows * room)
      keys = arena.add(IndexSelector.taskRows * room)
      rows = arena.add(lanes)
    }
  }

  /// One worker's memory.
  private final class Scratch {
    let arena: Arena
    var best: [BestKeys] = []

    init(_ layout: ScratchLayout) throws(AttentionError) {
      arena = try Arena(layout.arena)
      best.reserveCapacity(IndexSelector.taskRows)
    }
  }

  static func bytes(_ selection: IndexSelection, _ layout: KeptKeysLayout) -> Int {
    let shape = layout.problem.shape
    return Layout(selection, shape).arena.bytes
      + layout.threads * ScratchLayout(selection, layout).arena.bytes
      + (layout.hasCompanion
        ? 0 : IndexKeys.Layout(selection, shape, layout.kernels).arena.bytes)
  }

  private let selection: IndexSelection
  private let problem: AttentionProblem
  private let kernels: KernelTable
  private let parts: Layout
  private let scratchParts: ScratchLayout
  private let arena: Arena
  private let kept: KeptLists
  private let scratch: PerWorker<Scratch>
  /// Nil where runs bring a companion's.
  private let ownKeys: IndexKeys?

  init(_ selection: IndexSelection, _ layout: KeptKeysLayout) throws(AttentionError) {
    self.selection = selection
    problem = layout.problem
    kernels = layout.kernels
    parts = Layout(selection, problem.shape)
    let scratchParts = ScratchLayout(selection, layout)
    self.scratchParts = scratchParts
    arena = try Arena(parts.arena, for: "selected keys")
    kept = KeptLists(parts.kept, arena)
    scratch = try PerWorker(layout.threads) { () throws(AttentionError) -> Scratch in
      try Scratch(scratchParts)
    }
    ownKeys = layout.hasCompanion ? nil : try IndexKeys(selection, problem.shape, kernels)
  }

  private var shape: AttentionShape { problem.shape }
  private var top: Int { parts.kept.most }
  private var lanes: Int { kernels.panelLanes }
  private var functions: UnsafePointer<attn_kernels> { kernels.functions }

  let preparations = 1
  var rowsAtATime: Int { parts.rows }

  // MARK: Keys

  func tasks(preparing stage: Int) -> Int {
    ownKeys == nil ? 0 : shape.batch * panels(shape.keyLength)
  }

  /// Panels of so many keys.
  private func panels(_ keys: Int) -> Int { (keys + lanes - 1) / lanes }

  /// A panel of keys, and in the sample's order the panel of the sample that has as many before it.
  func prepare(_ stage: Int, task: Int, _ operands: AttentionOperands, worker: Int) {
    guard let ownKeys, let key = operands.inputs.named[IndexSelection.key] else { return }
    let (batch, index) = task.quotientAndRemainder(dividingBy: panels(shape.keyLength))
    let length = problem.geometry(batch: batch, in: operands).keyLength
    let rows = scratch[worker].arena[scratchParts.rows]
    func pack(_ step: Int, _ out: UnsafeMutablePointer<Float>) {
      let first = index * lanes
      let count = min(lanes, (length + step - 1) / step - first)
      if count <= 0 { return }
      for lane in 0..<count {
        rows[lane] = UnsafeRawPointer(key.row(batch, 0, (first + lane) * step))
      }
      functions.pointee.pack(rows.floats, Int32(count), Int32(selection.columns), 1, out)
    }
    pack(1, ownKeys.panel(batch, index))
    if index * lanes * IndexKeys.sampled < length {
      pack(IndexKeys.sampled, ownKeys.samplePanel(batch, index))
    }
  }

  // MARK: Selecting

  private func tasksPerEntry(_ rows: Range<Int>) -> Int {
    (rows.count + Self.taskRows - 1) / Self.taskRows
  }

  func tasks(selecting rows: Range<Int>) -> Int { shape.batch * tasksPerEntry(rows) }

  /// What a task selects for.
  private struct Task {
    let batch: Int
    let rows: Range<Int>
    let geometry: MaskGeometry
    let keys: IndexKeys
    let query: TensorView
    let weight: TensorView
    /// The batch entry of keys, queries and weights.
    let entry: Int

    /// How many keys a row sees: the first ones.
    func visible(_ row: Int) -> Int { geometry.visible(from: row + geometry.offset).count }
  }

  func select(rows: Range<Int>, task: Int, _ operands: AttentionOperands, worker: Int) {
    let (batch, piece) = task.quotientAndRemainder(dividingBy: tasksPerEntry(rows))
    let geometry = problem.geometry(batch: batch, in: operands)
    let first = rows.lowerBound + piece * Self.taskRows
    let end = min(first + Self.taskRows, rows.upperBound, geometry.queryLength)
    if first >= end { return }
    let companion = operands.companion as? IndexCompanion
    let named = operands.inputs.named
    guard let keys = companion?.keys ?? ownKeys,
      let query = companion.map({ $0.query }) ?? named[IndexSelection.query],
      let weight = companion.map({ $0.weight }) ?? named[IndexSelection.weight]
    else { return }
    select(
      Task(
        batch: batch, rows: first..<end, geometry: geometry, keys: keys, query: query.unowned,
        weight: weight.unowned, entry: batch + operands.companionEntry),
      at: first - rows.lowerBound, scratch[worker])
  }

  private func select(_ task: Task, at place: Int, _ scratch: Scratch) {
    /// Of a row, in `kept`.
    func list(_ row: Int) -> Int {
      task.batch * parts.rows + place + row - task.rows.lowerBound
    }
    // Rows that see no more than is kept come first.
    var rows = task.rows
    while let row = rows.first, task.visible(row) <= top {
      kept.write(first: task.visible(row), to: list(row))
      rows.removeFirst()
    }
    if rows.isEmpty { return }
    choose(rows, task, scratch)
    for row in rows {
      let index = row - rows.lowerBound
      if !scratch.best[index].finish() {
        // Others of the task keep what they have: a row alone is scored at another place.
        chooseAgain(row, at: index, task, scratch)
      }
      let best = scratch.best[index]
      if hasNaN(row, best, task, scratch) {
        kept.spoil(list(row))
      } else {
        kept.write(best.keys, best.count, to: list(row))
      }
    }
  }

  private func best(_ index: Int, limit: Float, _ scratch: Scratch) -> BestKeys {
    BestKeys(
      top: top, limit: limit,
      scores: scratch.arena[scratchParts.scores] + index * scratchParts.room,
      keys: scratch.arena[scratchParts.keys] + index * scratchParts.room, functions)
  }

  /// Offers all rows what they see.
  private func choose(_ rows: Range<Int>, _ task: Task, _ scratch: Scratch) {
    scratch.best.removeAll(keepingCapacity: true)
    sample(rows, task, scratch)
    for row in rows {
      scratch.best.append(
        best(
          row - rows.lowerBound, limit: limit(row, at: row - rows.lowerBound, task, scratch),
          scratch))
    }
    forEachTile(rows, task, scratch) { first, scores in
      for row in rows {
        let count = min(task.visible(row) - first, scratchParts.tileKeys)
        if count <= 0 { continue }
        let index = row - rows.lowerBound
        scratch.best[index].offer(
          scores + index * scratchParts.tileKeys, first: first, count: count)
      }
    }
  }

  /// A row without a limit.
  private func chooseAgain(_ row: Int, at index: Int, _ task: Task, _ scratch: Scratch) {
    scratch.best[index] = best(index, limit: -.infinity, scratch)
    forEachTile(row..<row + 1, task, scratch) { first, scores in
      let count = min(task.visible(row) - first, scratchParts.tileKeys)
      if count > 0 { scratch.best[index].offer(scores, first: first, count: count) }
    }
    _ = scratch.best[index].finish()
  }

  /// Whether a score of the row is a NaN, which has been kept for an infinity then.
  private func hasNaN(_ row: Int, _ best: BestKeys, _ task: Task, _ scratch: Scratch) -> Bool {
    if !(0..<best.count).contains(where: { best.scores[$0] == .infinity }) { return false }
    var found = false
    forEachTile(row..<row + 1, task, scratch) { first, scores in
      for key in 0..<max(0, min(task.visible(row) - first, scratchParts.tileKeys)) {
        found = found || scores[key].isNaN
      }
    }
    return found
  }

  // MARK: Scoring

  /// Scores of rows with a panel of keys.
  private func score(
    _ rows: Range<Int>, _ task: Task, _ panel: UnsafePointer<Float>, _ keys: Int,
    _ out: UnsafeMutablePointer<Float>, stride: Int
  ) {
    var index = attn_index(
      queries: task.query.row(task.entry, 0, rows.lowerBound),
      query_head_stride: Int64(task.query.headStride), query_stride: Int64(task.query.rowStride),
      weights: task.weight.row(task.entry, 0, rows.lowerBound),
      weight_head_stride: Int64(task.weight.headStride),
      weight_stride: Int64(task.weight.rowStride), heads: Int32(selection.heads),
      columns: Int32(selection.columns), rows: Int32(rows.count))
    let vectors = (keys + kernels.vectorLanes - 1) / kernels.vectorLanes
    functions.pointee.index_scores(&index, panel, Int32(vectors), out, Int64(stride))
  }

  /// Calls `body` with the first key of a tile and `[rows][tileKeys]` scores, for all keys that any row sees.
  private func forEachTile(
    _ rows: Range<Int>, _ task: Task, _ scratch: Scratch,
    _ body: (Int, UnsafePointer<Float>) -> Void
  ) {
    let tile = scratch.arena[scratchParts.tile]
    let end = task.visible(rows.upperBound - 1)
    for first in stride(from: 0, to: end, by: scratchParts.tileKeys) {
      for start in stride(from: first, to: min(first + scratchParts.tileKeys, end), by: lanes) {
        score(
          rows, task, task.keys.panel(task.entry, start / lanes), min(lanes, end - start),
          tile + (start - first), stride: scratchParts.tileKeys)
      }
      body(first, tile)
    }
  }

  private func sample(_ rows: Range<Int>, _ task: Task, _ scratch: Scratch) {
    let end = samples(task.visible(rows.upperBound - 1))
    for start in stride(from: 0, to: end, by: lanes) {
      score(
        rows, task, task.keys.samplePanel(task.entry, start / lanes), min(lanes, end - start),
        scratch.arena[scratchParts.sample] + start, stride: scratchParts.sampleKeys)
    }
  }

  /// How many of the first keys are in the sample.
  private func samples(_ keys: Int) -> Int { (keys + IndexKeys.sampled - 1) / IndexKeys.sampled }

  /// A score that the best keys of a row reach, but for chance: of the sample's scores one a few deviations
  /// below the place that it would have if the sample were as the whole.
  private func limit(_ row: Int, at index: Int, _ task: Task, _ scratch: Scratch) -> Float {
    let (keys, count) = (task.visible(row), samples(task.visible(row)))
    let expected = Double(top) * Double(count) / Double(keys)
    let place = Int(expected + 3.5 * expected.squareRoot()) + 4
    if place >= count { return -.infinity }
    return BestKeys.limit(
      of: place, in: scratch.arena[scratchParts.sample] + index * scratchParts.sampleKeys,
      count: count, from: -.infinity, functions
    ).limit
  }

  // MARK: Attending

  var lists: KeptLists? { kept }

  func keys(
    of row: Int, among rows: Range<Int>, _ batch: Int, _ head: Int,
    _ operands: AttentionOperands, memory: UnsafeMutablePointer<Int32>
  ) -> UnsafeBufferPointer<Int32>? { kept[batch * parts.rows + row - rows.lowerBound] }
}
