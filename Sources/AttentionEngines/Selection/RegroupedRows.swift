import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// Rows that each select for themselves, regrouped by the blocks that they chose: the rows that keep a block
/// meet it together, in the lanes of panels, and what they have come to is put away until their next block.
///
/// A chunk of rows of a head is one worker's work. Every row meets its blocks in rising order and its own
/// block last, whoever it shares lanes with.
final class RegroupedRows {
  /// Rows of a chunk: enough that a block is kept by more than a vector of them, few enough that what is put
  /// away stays in the second-level cache.
  static let chunkRows = 1024
  /// Rows whose scores are computed together.
  private static let scoredRows = 32
  private static let blockKeys = Int(ATTN_BLOCK_KEYS)

  /// Where its memory lies.
  struct Layout: Sendable {
    /// `[panels of blocks][summaryColumns][L]`, the summaries with blocks in lanes;
    /// `[scoredRows][summaryColumns]` what they are multiplied with; `[scoredRows][blocks]` scores.
    fileprivate let summaries: ArenaPart<Float>
    fileprivate let mapped: ArenaPart<Float>
    fileprivate let scores: ArenaPart<Float>
    /// `[top]`, and for all rows `[chunk][top]` blocks kept and `[chunk]` how many.
    fileprivate let bestScores: ArenaPart<Float>
    fileprivate let kept: ArenaPart<Int32>
    fileprivate let keptCounts: ArenaPart<Int32>
    /// `[blocks + 2]` where a block's rows begin among `[chunk][top]` rows by block, the last for counting.
    fileprivate let starts: ArenaPart<Int32>
    fileprivate let members: ArenaPart<Int32>
    /// `[chunk][d]` queries as fp32, and `[chunk][dV]`, `[chunk]` and `[chunk]` what rows have come to.
    fileprivate let queries: ArenaPart<Float>
    fileprivate let output: ArenaPart<Float>
    fileprivate let maxima: ArenaPart<Float>
    fileprivate let sums: ArenaPart<Float>
    fileprivate let panel: ArenaPart<Float>
    fileprivate let weights: ArenaPart<Float>
    fileprivate let tables: KeyValueRows.Layout
    /// `[L]` each, and `[chunk]` addresses of queries.
    fileprivate let ones: ArenaPart<Float>
    fileprivate let lower: ArenaPart<Int32>
    fileprivate let upper: ArenaPart<Int32>
    fileprivate let outputRows: ArenaPart<UnsafeMutablePointer<Float>>
    fileprivate let rows: ArenaPart<UnsafeRawPointer>
    fileprivate let prefetches: PrefetchList.Layout

    init(_ layout: SelectionLayout, in arena: inout ArenaLayout) {
      let (shape, lanes, keys) = (
        layout.problem.shape, layout.kernels.panelLanes, RegroupedRows.blockKeys
      )
      let chunk = min(RegroupedRows.chunkRows, shape.queryLength)
      let top = min(layout.selection.top, layout.blockCount)
      summaries = arena.add(layout.paddedBlocks * layout.summaryColumns)
      mapped = arena.add(RegroupedRows.scoredRows * layout.summaryColumns)
      scores = arena.add(RegroupedRows.scoredRows * layout.paddedBlocks)
      bestScores = arena.add(top)
      kept = arena.add(chunk * top)
      keptCounts = arena.add(chunk)
      starts = arena.add(layout.blockCount + 2)
      members = arena.add(chunk * top)
      queries = arena.add(chunk * shape.headDim)
      output = arena.add(chunk * shape.valueDim)
      maxima = arena.add(chunk)
      sums = arena.add(chunk)
      panel = arena.add(SelectedPanel.floats(layout.problem, layout.kernels))
      weights = arena.add(keys * lanes)
      tables = KeyValueRows.Layout(
        layout.problem, count: keys, isCopied: layout.problem.storage.keyValue != .float32,
        in: &arena)
      ones = arena.add(lanes)
      lower = arena.add(lanes)
      upper = arena.add(lanes)
      outputRows = arena.add(lanes)
      rows = arena.add(max(chunk, lanes))
      prefetches = PrefetchList.Layout(capacity: 2 * keys, in: &arena)
    }
  }

  private let layout: SelectionLayout
  private let functions: UnsafePointer<attn_kernels>
  private let lanes: Int
  private let top: Int
  private let arena: Arena
  private let parts: Layout
  private let panel: SelectedPanel
  private let tables: KeyValueRows
  /// What the block after the one in work needs.
  private var prefetches: PrefetchList

  init(_ layout: SelectionLayout) throws(AttentionError) {
    var arenaLayout = ArenaLayout()
    parts = Layout(layout, in: &arenaLayout)
    self.layout = layout
    functions = layout.kernels.functions
    lanes = layout.kernels.panelLanes
    top = min(layout.selection.top, layout.blockCount)
    arena = try Arena(arenaLayout)
    panel = SelectedPanel(
      layout.problem, layout.kernels, at: arena[parts.panel], weights: arena[parts.weights])
    tables = KeyValueRows(parts.tables, arena, functions)
    prefetches = PrefetchList(parts.prefetches, arena)
    arena[parts.ones].update(repeating: 1, count: lanes)
  }

  private var shape: AttentionShape { layout.problem.shape }

  /// A chunk of rows of a head.
  private struct Chunk {
    let batch: Int
    let head: Int
    let kvHead: Int
    let rows: Range<Int>
    let geometry: MaskGeometry
    let operands: AttentionOperands
  }

  /// Selects and attends for a chunk of rows of a head.
  func attend(
    chunk index: Int, _ geometry: MaskGeometry, _ batch: Int, _ head: Int,
    _ operands: AttentionOperands, summaries: UnsafePointer<Float>
  ) {
    let first = index * Self.chunkRows
    if first >= geometry.queryLength { return }
    let chunk = Chunk(
      batch: batch, head: head, kvHead: head / shape.groupSize,
      rows: first..<min(first + Self.chunkRows, geometry.queryLength), geometry: geometry,
      operands: operands)
    begin(chunk)
    select(chunk, summaries)
    for block in 0..<layout.selection.blockCount(geometry.keyLength) { visit(block, chunk) }
    visitOwn(chunk)
    finish(chunk)
  }

  private func begin(_ chunk: Chunk) {
    let rows = arena[parts.rows]
    let query = chunk.operands.query
    for (place, row) in chunk.rows.enumerated() {
      rows[place] = query.rowAddress(chunk.batch, chunk.head, row)
    }
    rows.widen(
      count: chunk.rows.count, columns: shape.headDim, storage: query.elementType.storage,
      into: arena[parts.queries], functions)
    arena[parts.maxima].update(repeating: -.infinity, count: chunk.rows.count)
    arena[parts.sums].update(repeating: 0, count: chunk.rows.count)
    arena[parts.output].update(repeating: 0, count: chunk.rows.count * shape.valueDim)
  }

  // MARK: Selecting

  /// What every row keeps, and the rows of every block.
  private func select(_ chunk: Chunk, _ summaries: UnsafePointer<Float>) {
    let blocks = layout.selection.blockCount(chunk.geometry.keyLength)
    let starts = arena[parts.starts]
    starts.update(repeating: 0, count: layout.blockCount + 2)
    transpose(summaries, blocks)
    for first in stride(from: 0, to: chunk.rows.count, by: Self.scoredRows) {
      score(first, min(Self.scoredRows, chunk.rows.count - first), blocks)
      for place in first..<min(first + Self.scoredRows, chunk.rows.count) {
        keep(place, chunk, arena[parts.scores] + (place - first) * layout.paddedBlocks)
      }
    }
    // Counts become begins, and begins, as they are filled, the next block's.
    let (kept, counts, members) = (arena[parts.kept], arena[parts.keptCounts], arena[parts.members])
    for block in 1..<layout.blockCount + 2 { starts[block] += starts[block - 1] }
    for place in 0..<chunk.rows.count {
      for index in 0..<Int(counts[place]) {
        let block = Int(kept[place * top + index])
        members[Int(starts[block + 1])] = Int32(place)
        starts[block + 1] += 1
      }
    }
  }

  /// Blocks into lanes.
  private func transpose(_ summaries: UnsafePointer<Float>, _ blocks: Int) {
    // The queries' addresses have been used.
    let rows = arena[parts.rows]
    for first in stride(from: 0, to: blocks, by: lanes) {
      let count = min(lanes, blocks - first)
      for lane in 0..<count {
        rows[lane] = UnsafeRawPointer(summaries + (first + lane) * layout.summaryStride)
      }
      functions.pointee.pack(
        rows.floats, Int32(count), Int32(layout.summaryColumns), 1,
        arena[parts.summaries] + first * layout.summaryColumns)
    }
  }

  /// Products of some rows with the summaries of all blocks.
  private func score(_ first: Int, _ count: Int, _ blocks: Int) {
    let columns = layout.summaryColumns
    for row in 0..<count {
      layout.selection.score.map(
        arena[parts.queries] + (first + row) * shape.headDim, headDim: shape.headDim,
        sign: layout.problem.scale < 0 ? -1 : 1, into: arena[parts.mapped] + row * columns)
    }
    for block in stride(from: 0, to: blocks, by: lanes) {
      let vectors =
        (min(lanes, blocks - block) + layout.kernels.vectorLanes - 1) / layout.kernels.vectorLanes
      functions.pointee.product(
        arena[parts.mapped], Int64(columns), Int32(count), Int32(columns),
        arena[parts.summaries] + block * columns, Int64(lanes), Int32(vectors), ATTN_RECTANGLE, 0,
        arena[parts.scores] + block,
        Int64(layout.paddedBlocks))
    }
  }

  private func keep(_ place: Int, _ chunk: Chunk, _ scores: UnsafePointer<Float>) {
    let group = layout.selection.group(chunk.rows.lowerBound + place, under: chunk.geometry)
    var best = BestBlocks(
      limit: layout.selection.kept(of: group), scores: arena[parts.bestScores],
      blocks: arena[parts.kept] + place * top)
    for block in group.before { best.offer(scores[block], block) }
    for block in group.after { best.offer(scores[block], block) }
    let kept = best.sorted()
    arena[parts.keptCounts][place] = Int32(kept.count)
    for block in kept { arena[parts.starts][Int(block) + 2] += 1 }
  }

  // MARK: Attending

  /// Points at keys and values of a block, in fp32.
  private func point(at keys: Range<Int>, _ chunk: Chunk) {
    tables.point(at: keys, chunk.batch, chunk.kvHead, chunk.operands)
    tables.bring(keys.count, chunk.batch, chunk.kvHead, chunk.operands)
  }

  /// Brings rows into the lanes, lets them meet the keys that were pointed at, and puts them away.
  ///
  /// - Parameter place: of a lane's row in the chunk.
  private func meet(
    _ keys: Int, rows count: Int, first: Int?, _ place: (Int) -> Int
  ) {
    let (rows, outputRows) = (arena[parts.rows], arena[parts.outputRows])
    let (maxima, sums) = (arena[parts.maxima], arena[parts.sums])
    for lane in 0..<count {
      rows[lane] = UnsafeRawPointer(arena[parts.queries] + place(lane) * shape.headDim)
    }
    panel.pack(rows, count: count)
    for lane in 0..<count {
      let output = arena[parts.output] + place(lane) * shape.valueDim
      (rows[lane], outputRows[lane]) = (UnsafeRawPointer(output), output)
      (panel.maxima[lane], panel.sums[lane]) = (maxima[place(lane)], sums[place(lane)])
    }
    for lane in count..<lanes { (panel.maxima[lane], panel.sums[lane]) = (-.infinity, 0) }
    functions.pointee.pack(
      rows.floats, Int32(count), Int32(shape.valueDim), 1, panel.output)
    // How many other rows keep a block, later ones among them, must not show in a row's bits: kernels take
    // other tiles for a single vector of lanes.
    panel.meet(
      keys, rows: max(count, layout.kernels.vectorLanes + 1), tables, first: first,
      lower: arena[parts.lower],
      upper: arena[parts.upper], prefetch: prefetches.pending)
    functions.pointee.unpack(
      panel.output, arena[parts.ones], nil, Int32(count), Int32(shape.valueDim), outputRows)
    for lane in 0..<count {
      (maxima[place(lane)], sums[place(lane)]) = (panel.maxima[lane], panel.sums[lane])
    }
  }

  /// A block and the rows that keep it, all of whose keys they see.
  private func visit(_ block: Int, _ chunk: Chunk) {
    let starts = arena[parts.starts]
    let rows = Int(starts[block])..<Int(starts[block + 1])
    if rows.isEmpty { return }
    let members = arena[parts.members]
    let keys = layout.selection.keys(of: block, keyLength: chunk.geometry.keyLength)
    for first in stride(from: keys.lowerBound, to: keys.upperBound, by: Self.blockKeys) {
      let part = first..<min(first + Self.blockKeys, keys.upperBound)
      point(at: part, chunk)
      // The rows of the chunk keep most blocks between them: the next one is likely to be next.
      let next =
        part
        .upperBound..<min(
          part.upperBound + Self.blockKeys, chunk.geometry.keyLength)
      prefetches.clear()
      prefetches.add(next, of: chunk.operands.key, batch: chunk.batch, head: chunk.kvHead)
      prefetches.add(next, of: chunk.operands.value, batch: chunk.batch, head: chunk.kvHead)
      for start in stride(from: rows.lowerBound, to: rows.upperBound, by: lanes) {
        meet(part.count, rows: min(lanes, rows.upperBound - start), first: nil) {
          Int(members[start + $0])
        }
      }
    }
  }

  /// The own blocks of the rows, neighbours together, each up to where it sees.
  private func visitOwn(_ chunk: Chunk) {
    let (lower, upper) = (arena[parts.lower], arena[parts.upper])
    let (selection, geometry) = (layout.selection, chunk.geometry)
    prefetches.clear()
    var start = chunk.rows.lowerBound
    while start < chunk.rows.upperBound {
      let own = selection.group(start, under: geometry).own
      var end = start + 1
      while end < chunk.rows.upperBound, end - start < lanes,
        selection.group(end, under: geometry).own == own
      {
        end += 1
      }
      let rows = start..<end
      start = end
      let last = geometry.visible(from: rows.upperBound - 1 + geometry.offset).upperBound
      let keys = (own.lowerBound * selection.block..<own.upperBound * selection.block)
        .clamped(to: 0..<last)
      for first in stride(from: keys.lowerBound, to: keys.upperBound, by: Self.blockKeys) {
        let part = first..<min(first + Self.blockKeys, keys.upperBound)
        point(at: part, chunk)
        for lane in 0..<lanes {
          let row = min(rows.lowerBound + lane, rows.upperBound - 1)
          lower[lane] = 0
          upper[lane] = Int32(geometry.visible(from: row + geometry.offset).upperBound)
        }
        meet(part.count, rows: rows.count, first: first) {
          rows.lowerBound - chunk.rows.lowerBound + $0
        }
      }
    }
  }

  private func finish(_ chunk: Chunk) {
    let columns = shape.valueDim
    let type = layout.problem.storage.output
    for (place, row) in chunk.rows.enumerated() {
      var state = SoftmaxState(
        maximum: arena[parts.maxima][place], sum: arena[parts.sums][place])
      if let sinks = layout.problem.scoring.sinkLogits {
        _ = state.add(sink: sinks[chunk.head] * Float.log16e)
      }
      let output = arena[parts.output] + place * columns
      functions.pointee.scale_row(output, Int64(columns), state.factor)
      var source = UnsafePointer(output)
      var target = chunk.operands.output.rowAddress(chunk.batch, chunk.head, row)
      functions.pointee.narrow(&source, 1, Int32(columns), type.storage, &target)
      chunk.operands.logSumExp?.row(chunk.batch, chunk.head, row)[0] = state.naturalLogSumExp
    }
  }
}
