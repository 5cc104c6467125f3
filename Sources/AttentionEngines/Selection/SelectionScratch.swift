import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// One worker's memory for a selection, and what it does with a group of query rows.
final class SelectionScratch {
  /// Where its memory lies.
  struct Layout: Sendable {
    private(set) var arena = ArenaLayout()
    /// `[d]` of the group's queries, and `[heads][summaryStride]` what summaries are multiplied with.
    fileprivate let mean: ArenaPart<Float>
    fileprivate let mapped: ArenaPart<Float>
    /// `[heads][blocks]`, then `[top]` each.
    fileprivate let scores: ArenaPart<Float>
    fileprivate let bestScores: ArenaPart<Float>
    fileprivate let best: ArenaPart<Int32>
    /// `[ATTN_BLOCK_KEYS][d]` rows as fp32.
    fileprivate let copies: ArenaPart<Float>
    fileprivate let prefetches: PrefetchList.Layout
    fileprivate let attender: Attender

    fileprivate enum Attender {
      case panels(SelectedPanels.Layout)
      case fewRows(SelectedFewRows.Layout)
    }

    init(_ layout: SelectionLayout) {
      let keys = SelectionScratch.blockKeys
      mean = arena.add(layout.problem.shape.headDim)
      mapped = arena.add(layout.headsTogether * layout.summaryStride)
      scores = arena.add(layout.headsTogether * layout.blockCount)
      let top = min(layout.selection.top, layout.blockCount)
      bestScores = arena.add(top)
      best = arena.add(top)
      copies = arena.add(keys * layout.problem.shape.headDim)
      prefetches = PrefetchList.Layout(capacity: 2 * keys, in: &arena)
      let rows = min(layout.selection.rows, layout.problem.shape.queryLength)
      attender =
        rows > SelectedFewRows.most
        ? .panels(SelectedPanels.Layout(layout, in: &arena))
        : .fewRows(SelectedFewRows.Layout(layout, in: &arena))
    }
  }

  private static let blockKeys = Int(ATTN_BLOCK_KEYS)

  private let layout: SelectionLayout
  private let functions: UnsafePointer<attn_kernels>
  private let arena: Arena
  private let mean: UnsafeMutablePointer<Float>
  private let mapped: UnsafeMutablePointer<Float>
  private let scores: UnsafeMutablePointer<Float>
  private let bestScores: UnsafeMutablePointer<Float>
  private let best: UnsafeMutablePointer<Int32>
  private let reader: RowReader
  private let attender: any SelectedAttender
  /// What the keys after those in work need.
  private var prefetches: PrefetchList

  init(_ layout: SelectionLayout) throws(AttentionError) {
    let parts = Layout(layout)
    self.layout = layout
    functions = layout.kernels.functions
    arena = try Arena(parts.arena)
    mean = arena[parts.mean]
    mapped = arena[parts.mapped]
    scores = arena[parts.scores]
    bestScores = arena[parts.bestScores]
    best = arena[parts.best]
    prefetches = PrefetchList(parts.prefetches, arena)
    switch parts.attender {
    case .panels(let panels): attender = SelectedPanels(layout, panels, arena)
    case .fewRows(let rows): attender = SelectedFewRows(layout, rows, arena)
    }
    // All that is read for a choice has been read before keys are met, so that the two can share a table.
    reader = RowReader(
      attender.tables.keys, copies: arena[parts.copies], count: Self.blockKeys, functions)
  }

  // MARK: Selecting

  /// The largest and the least number of each column; a NaN is both.
  private func extremes(
    _ range: Range<Int>, of tensor: TensorView, _ batch: Int, _ head: Int,
    into out: UnsafeMutablePointer<Float>
  ) {
    let columns = tensor.shape.columns
    let (largest, least) = (out, out + columns)
    largest.update(repeating: -.infinity, count: columns)
    least.update(repeating: .infinity, count: columns)
    reader.forEach(range, of: tensor, batch, head) { row in
      for column in 0..<columns {
        let x = row[column]
        largest[column] = x > largest[column] || x.isNaN ? x : largest[column]
        least[column] = x < least[column] || x.isNaN ? x : least[column]
      }
    }
  }

  /// The summaries of some of a head's blocks.
  func summarise(
    _ blocks: Range<Int>, of key: TensorView, _ geometry: MaskGeometry, _ batch: Int, _ kvHead: Int,
    into summaries: UnsafeMutablePointer<Float>
  ) {
    for block in blocks {
      let keys = layout.selection.keys(of: block, keyLength: geometry.keyLength)
      let out = summaries + block * layout.summaryStride
      switch layout.selection.score {
      case .mean: reader.average(keys, of: key, batch, kvHead, into: out)
      case .bound: extremes(keys, of: key, batch, kvHead, into: out)
      }
    }
  }

  /// Summaries that are multiplied for one head after the other, so that they stay in the first-level cache.
  private static let scoredBlocks = 32

  /// The scores of a group's candidates for some heads.
  private func score(
    _ group: BlockSelection.Group, _ query: TensorView, _ batch: Int, _ heads: Range<Int>,
    _ summaries: UnsafePointer<Float>
  ) {
    let (stride, headDim) = (layout.summaryStride, layout.problem.shape.headDim)
    for (index, head) in heads.enumerated() {
      reader.average(group.rows, of: query, batch, head, into: mean)
      layout.selection.score.map(
        mean, headDim: headDim, sign: layout.problem.scale < 0 ? -1 : 1,
        into: mapped + index * stride)
    }
    for index in 0..<2 {
      // No array: runs allocate nothing.
      let range = index == 0 ? group.before : group.after
      var first = range.lowerBound
      while first < range.upperBound {
        let count = min(Self.scoredBlocks, range.upperBound - first)
        for index in heads.indices {
          let index = index - heads.lowerBound
          functions.pointee.dot_rows(
            summaries + first * stride, Int64(stride), Int32(count), Int32(stride),
            mapped + index * stride, scores + index * layout.blockCount + first)
        }
        first += count
      }
    }
  }

  /// The best of a group's candidates, rising.
  private func select(
    _ group: BlockSelection.Group, _ scores: UnsafePointer<Float>
  ) -> UnsafeBufferPointer<Int32> {
    var kept = BestBlocks(
      limit: layout.selection.kept(of: group), scores: bestScores, blocks: best)
    for block in group.before { kept.offer(scores[block], block) }
    for block in group.after { kept.offer(scores[block], block) }
    return kept.sorted()
  }

  // MARK: Attending

  /// A group of query rows of some heads of a key/value head: what each keeps, and softmax over it.
  func attend(
    group index: Int, _ geometry: MaskGeometry, _ batch: Int, _ heads: Range<Int>,
    _ operands: AttentionOperands, summaries: UnsafePointer<Float>
  ) {
    let selection = layout.selection
    if index >= selection.groupCount(geometry.queryLength) { return }
    let group = selection.group(index, under: geometry)
    if selection.kept(of: group) > 0 { score(group, operands.query, batch, heads, summaries) }
    for (index, head) in heads.enumerated() {
      let work = SelectedGroup(
        batch: batch, head: head, kvHead: head / layout.problem.shape.groupSize, group: group,
        geometry: geometry)
      attend(work, select(group, scores + index * layout.blockCount), operands)
    }
  }

  private func attend(
    _ work: SelectedGroup, _ kept: UnsafeBufferPointer<Int32>, _ operands: AttentionOperands
  ) {
    let (selection, geometry, tables) = (layout.selection, work.geometry, attender.tables)
    attender.begin(work, operands)
    // The own blocks, each row up to where it sees.
    let (blocks, size) = (work.group.own, selection.block)
    let own = (blocks.lowerBound * size..<blocks.upperBound * size)
      .clamped(to: 0..<work.end(of: work.group.rows.upperBound - 1))
    var filled = 0
    func meet(first: Int?) {
      if filled == 0 { return }
      attender.meet(
        filled, first: first, work, operands, prefetch: prefetches.pending)
      filled = 0
      prefetches.clear()
    }
    for (index, block) in kept.enumerated() {
      var keys = selection.keys(of: Int(block), keyLength: geometry.keyLength)
      while !keys.isEmpty {
        let room = Self.blockKeys - filled
        let part = keys.lowerBound..<min(keys.lowerBound + room, keys.upperBound)
        tables.point(filled, at: part, work.batch, work.kvHead, operands)
        filled += part.count
        keys = part.upperBound..<keys.upperBound
        if filled < Self.blockKeys { continue }
        prefetch(keys, then: kept[(index + 1)...], own, work, operands)
        meet(first: nil)
      }
    }
    prefetch(0..<0, then: kept[kept.count...], own, work, operands)
    meet(first: nil)
    for first in stride(from: own.lowerBound, to: own.upperBound, by: Self.blockKeys) {
      let keys = first..<min(first + Self.blockKeys, own.upperBound)
      tables.point(at: keys, work.batch, work.kvHead, operands)
      filled = keys.count
      meet(first: first)
    }
    attender.finish(work, operands)
  }

  /// Has the keys prefetched that are met after those in work: the rest of a block, the blocks after it,
  /// and the own ones behind the last.
  private func prefetch(
    _ rest: Range<Int>, then blocks: Slice<UnsafeBufferPointer<Int32>>, _ own: Range<Int>,
    _ work: SelectedGroup, _ operands: AttentionOperands
  ) {
    if !attender.prefetches { return }
    var room = Self.blockKeys
    func add(_ keys: Range<Int>) {
      let part = keys.lowerBound..<min(keys.lowerBound + room, keys.upperBound)
      if part.isEmpty { return }
      prefetches.add(part, of: operands.key, batch: work.batch, head: work.kvHead)
      prefetches.add(part, of: operands.value, batch: work.batch, head: work.kvHead)
      room -= part.count
    }
    add(rest)
    for block in blocks where room > 0 {
      add(layout.selection.keys(of: Int(block), keyLength: work.geometry.keyLength))
    }
    add(own)
  }
}
