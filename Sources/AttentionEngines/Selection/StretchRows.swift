import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// One worker's softmax of the rows of a chunk over what they keep, stretch by stretch.
final class StretchRows {
  /// Where its memory lies.
  struct Layout: Sendable {
    private(set) var arena = ArenaLayout()
    /// `[heads][chunkRows][columns]`, `[heads][chunkRows]` each.
    fileprivate let queries: ArenaPart<Float>
    fileprivate let output: ArenaPart<Float>
    fileprivate let maxima: ArenaPart<Float>
    fileprivate let sums: ArenaPart<Float>
    fileprivate let factors: ArenaPart<Float>
    /// `[heads][mostPairs]` each.
    fileprivate let scores: ArenaPart<Float>
    fileprivate let weights: ArenaPart<Float>
    /// `[stretchKeys][columns]` each.
    fileprivate let keys: ArenaPart<Float>
    fileprivate let values: ArenaPart<Float>
    /// `[max(chunkRows, stretchKeys)]`.
    fileprivate let rows: ArenaPart<UnsafeRawPointer>
    fileprivate let prefetches: PrefetchList.Layout

    init(_ layout: StretchLayout) {
      let rowCount = layout.heads * layout.chunkRows
      queries = arena.add(rowCount * layout.keyColumns)
      output = arena.add(rowCount * layout.valueColumns)
      maxima = arena.add(rowCount)
      sums = arena.add(rowCount)
      factors = arena.add(rowCount)
      scores = arena.add(layout.heads * layout.mostPairs)
      weights = arena.add(layout.heads * layout.mostPairs)
      keys = arena.add(layout.stretchKeys * layout.keyColumns)
      values = arena.add(layout.stretchKeys * layout.valueColumns)
      rows = arena.add(max(layout.chunkRows, layout.stretchKeys))
      prefetches = PrefetchList.Layout(capacity: 2 * layout.stretchKeys, in: &arena)
    }
  }

  private let layout: StretchLayout
  private let functions: UnsafePointer<attn_kernels>
  private let arena: Arena
  private let parts: Layout
  /// What the next stretch needs.
  private var prefetches: PrefetchList

  init(_ layout: StretchLayout) throws(AttentionError) {
    self.layout = layout
    functions = layout.kernels.functions
    parts = Layout(layout)
    arena = try Arena(parts.arena)
    prefetches = PrefetchList(parts.prefetches, arena)
  }

  private var shape: AttentionShape { layout.problem.shape }

  /// Lets the rows of a chunk attend.
  ///
  /// - Parameters:
  ///   - rows: not empty.
  ///   - isSpoiled: whether a NaN decides what a row keeps.
  func attend(
    _ batch: Int, _ heads: Range<Int>, _ chunk: Int, _ rows: Range<Int>, _ geometry: MaskGeometry,
    _ operands: AttentionOperands, _ stretches: KeptStretches, isSpoiled: (Int) -> Bool
  ) {
    begin(batch, heads, rows, operands)
    let kvHead = heads.lowerBound / shape.groupSize
    var all = attn_kept_rows(
      heads: Int32(heads.count), queries: arena[parts.queries], output: arena[parts.output],
      head_rows: Int64(layout.chunkRows), maxima: arena[parts.maxima], sums: arena[parts.sums],
      key_columns: Int32(layout.keyColumns), value_columns: Int32(layout.valueColumns),
      softcap: layout.problem.log16Softcap, head_pairs: Int64(layout.mostPairs),
      scores: arena[parts.scores], weights: arena[parts.weights], factors: arena[parts.factors])
    for number in 0..<layout.stretches(rows, geometry) {
      let (visits, places) = stretches.visits(batch, chunk, number)
      guard let first = visits.baseAddress, !visits.isEmpty else { continue }
      let start = number * layout.stretchKeys
      let keys = start..<min(start + layout.stretchKeys, geometry.keyLength)
      bring(keys, of: operands.key, batch, kvHead, layout.keyColumns, into: arena[parts.keys])
      bring(keys, of: operands.value, batch, kvHead, layout.valueColumns, into: arena[parts.values])
      let next =
        keys.upperBound..<min(keys.upperBound + layout.stretchKeys, geometry.keyLength)
      prefetches.clear()
      prefetches.add(next, of: operands.key, batch: batch, head: kvHead)
      prefetches.add(next, of: operands.value, batch: batch, head: kvHead)
      var stretch = attn_stretch(
        keys: arena[parts.keys], values: arena[parts.values], visits: first,
        visit_count: Int32(visits.count), places: places, prefetch: prefetches.pending)
      functions.pointee.attend_kept(&all, &stretch)
    }
    finish(batch, heads, rows, operands, isSpoiled)
  }

  /// Brings rows to fp32 and together, columns in whole vectors; what is behind the last column stays 0.
  private func bring(
    _ range: Range<Int>, of tensor: TensorView, _ batch: Int, _ head: Int, _ columns: Int,
    into out: UnsafeMutablePointer<Float>
  ) {
    let rows = arena[parts.rows]
    for (index, row) in range.enumerated() { rows[index] = tensor.rowAddress(batch, head, row) }
    let (own, type) = (tensor.shape.columns, tensor.elementType.storage)
    let scales = tensor.channelScales(batch, head)
    if own == columns {
      functions.pointee.widen(rows, Int32(range.count), Int32(own), type, scales, out)
      return
    }
    for index in 0..<range.count {
      functions.pointee.widen(rows + index, 1, Int32(own), type, scales, out + index * columns)
    }
  }

  private func begin(
    _ batch: Int, _ heads: Range<Int>, _ rows: Range<Int>, _ operands: AttentionOperands
  ) {
    for index in 0..<heads.count {
      let first = index * layout.chunkRows
      let queries = arena[parts.queries] + first * layout.keyColumns
      bring(
        rows, of: operands.query, batch, heads.lowerBound + index, layout.keyColumns, into: queries)
      functions.pointee.scale_row(
        queries, Int64(rows.count * layout.keyColumns), layout.problem.scale * Float.log16e)
      (arena[parts.maxima] + first).update(repeating: -.infinity, count: rows.count)
      (arena[parts.sums] + first).update(repeating: 0, count: rows.count)
      (arena[parts.output] + first * layout.valueColumns)
        .update(repeating: 0, count: rows.count * layout.valueColumns)
    }
  }

  private func finish(
    _ batch: Int, _ heads: Range<Int>, _ rows: Range<Int>, _ operands: AttentionOperands,
    _ isSpoiled: (Int) -> Bool
  ) {
    let type = layout.problem.storage.output
    for (index, head) in heads.enumerated() {
      for (place, row) in rows.enumerated() {
        let place = index * layout.chunkRows + place
        var state = SoftmaxState(
          maximum: arena[parts.maxima][place], sum: arena[parts.sums][place])
        if let sinks = layout.problem.scoring.sinkLogits {
          _ = state.add(sink: sinks[head] * Float.log16e)
        }
        let spoiled = isSpoiled(row)
        let output = arena[parts.output] + place * layout.valueColumns
        if spoiled {
          output.update(repeating: .nan, count: shape.valueDim)
        } else {
          functions.pointee.scale_row(output, Int64(shape.valueDim), state.factor)
        }
        var source = UnsafePointer(output)
        var target = operands.output.rowAddress(batch, head, row)
        functions.pointee.narrow(&source, 1, Int32(shape.valueDim), type.storage, &target)
        operands.logSumExp?.row(batch, head, row)[0] = spoiled ? .nan : state.naturalLogSumExp
      }
    }
  }
}
