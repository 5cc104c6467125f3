import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// What the tokens of a chunk do to each other and to the state.
extension RecurrentScratch {
  /// out[t][s] = factor rows_t . kept(s, t) key_s, for s up to t; and rows_t = factor kept(t) rows_t, what
  /// meets the state before the chunk.
  func products(
    _ rows: UnsafeMutablePointer<Float>, count: Int, factor: Float,
    into out: UnsafeMutablePointer<Float>
  ) {
    let (stride, square) = (layout.rowStride, layout.squareStride)
    switch recurrence.decay {
    case .none:
      if factor != 1 { functions.pointee.scale_row(rows, Int64(count * stride), factor) }
      keyProducts(rows, count: count, into: out)
    case .perHead:
      keyProducts(rows, count: count, into: out)
      functions.pointee.multiply_rows(
        out, Int64(square), Int32(count), Int32(square), between, Int64(square), factor, out)
      functions.pointee.scale_rows(
        rows, Int64(stride), Int32(count), Int32(stride), kept, 1, factor, rows)
    case .perChannel:
      for first in Swift.stride(from: 0, to: count, by: RecurrentLayout.blockTokens) {
        decayedProducts(
          rows, first..<min(first + RecurrentLayout.blockTokens, count), factor: factor, into: out)
      }
    }
  }

  /// out[t][s] = rows_t . key_s. Whole tiles of rows at a time, and the keys up to their last one.
  private func keyProducts(
    _ rows: UnsafePointer<Float>, count: Int, into out: UnsafeMutablePointer<Float>
  ) {
    let (stride, square) = (layout.rowStride, layout.squareStride)
    for first in Swift.stride(from: 0, to: count, by: layout.scoredRows) {
      let own = min(layout.scoredRows, count - first)
      for panel in Swift.stride(from: 0, to: first + own, by: lanes) {
        let vectors = layout.vectors(min(lanes, first + own - panel))
        functions.pointee.product(
          rows + first * stride, Int64(stride), Int32(own), Int32(layout.stateRows),
          transposed + panel * stride, Int64(lanes), Int32(vectors), ATTN_RECTANGLE, 0,
          out + first * square + panel, Int64(square))
      }
    }
  }

  /// The rows of a block with a decay for each channel: with the keys of their own block one by one, with
  /// those before it by a product.
  private func decayedProducts(
    _ rows: UnsafeMutablePointer<Float>, _ block: Range<Int>, factor: Float,
    into out: UnsafeMutablePointer<Float>
  ) {
    let (stride, square, first) = (layout.rowStride, layout.squareStride, block.lowerBound)
    let count = Int32(block.count)
    let (own, place) = (rows + first * stride, out + first * square)
    functions.pointee.decayed_dots(
      own, keys + first * stride, decays + first * stride, Int64(stride), Int32(stride), count,
      factor, partial, place + first, Int64(square))
    functions.pointee.multiply_rows(
      own, Int64(stride), count, Int32(stride), kept + first * stride, Int64(stride), factor, own)
    if first == 0 { return }
    let before = transposed(before: first)
    for panel in Swift.stride(from: 0, to: first, by: lanes) {
      functions.pointee.product(
        own, Int64(stride), count, Int32(layout.stateRows), before + panel * stride, Int64(lanes),
        Int32(layout.vectors(min(lanes, first - panel))), ATTN_RECTANGLE, 0, place + panel,
        Int64(square))
    }
    functions.pointee.multiply_rows(
      own, Int64(stride), count, Int32(stride),
      keptBefore + first / RecurrentLayout.blockTokens * stride, 0, 1, own)
  }

  /// The transposed keys before a block that is not the first.
  private func transposed(before first: Int) -> UnsafeMutablePointer<Float> {
    transposed
      + (first / RecurrentLayout.blockTokens - 1) * layout.squareStride * layout.rowStride
  }

  /// Transposes the keys; where a decay is a channel's, those before each block, as far as they are kept
  /// up to it.
  func transpose(_ count: Int) {
    guard recurrence.decay == .perChannel else {
      return transpose(keys, count, into: transposed)
    }
    var first = 0
    while first < count {
      let next = min(first + RecurrentLayout.blockTokens, count)
      functions.pointee.keep_keys(
        keys, decays, kept + (next - 1) * layout.rowStride, Int64(layout.rowStride),
        Int32(layout.rowStride), Int32(first), Int32(next - first), keptKeys)
      if next < count { transpose(keptKeys, next, into: transposed(before: next)) }
      first = next
    }
  }

  private func transpose(
    _ source: UnsafePointer<Float>, _ count: Int, into out: UnsafeMutablePointer<Float>
  ) {
    let stride = layout.rowStride
    for first in Swift.stride(from: 0, to: count, by: lanes) {
      functions.pointee.transpose_rows(
        source + first * stride, Int64(stride), Int32(min(lanes, count - first)), Int32(stride),
        out + first * stride)
    }
  }

  /// What the tokens of a chunk write, less what they erase of it and of the state.
  func erase(_ count: Int, _ head: Head) {
    if !recurrence.erases { return }
    products(erases, count: count, factor: -1, into: erasing)
    var rows = chunkRows(
      erases, count: count, erasing, ATTN_SOLVE, outputStride: layout.valueStride)
    for panel in head.panels {
      let out = written + panel * layout.width
      functions.pointee.chunk_rows(
        &rows, statePanel(panel), out, Int32(layout.panelVectors), ahead, out)
    }
  }

  /// Rows of a chunk as the kernels want them.
  func chunkRows(
    _ rows: UnsafePointer<Float>, count: Int, _ square: UnsafePointer<Float>,
    _ triangle: attn_triangle, outputStride: Int
  ) -> attn_chunk_rows {
    attn_chunk_rows(
      rows: rows, row_stride: Int64(layout.rowStride), count: Int32(count),
      columns: Int32(layout.stateRows), square: square, square_stride: Int64(layout.squareStride),
      triangle: triangle, written_stride: Int64(layout.valueStride),
      out_stride: Int64(outputStride))
  }

  /// Adds keys to their sum.
  func addKeys(_ count: Int, _ head: Head) {
    let stride = layout.rowStride
    let sum = state + layout.keySum(head.piece)
    functions.pointee.add_rows(
      keys, Int64(stride), Int32(count), Int32(stride), sum, sum + stride)
  }

  /// Takes the tokens of a chunk into the state; the keys are used up.
  func takeIn(_ count: Int, _ head: Head) {
    let stride = layout.rowStride
    if recurrence.normalises {
      addKeys(count, head)
    }
    if recurrence.decay == .perHead {
      let toEnd = between + (count - 1) * layout.squareStride
      functions.pointee.scale_rows(
        keys, Int64(stride), Int32(count), Int32(stride), toEnd, 1, 1, keys)
    }
    for panel in head.panels {
      functions.pointee.take_in(
        recurrence.decay == .perChannel ? keptKeys : keys, Int64(stride),
        written + panel * layout.width, Int64(layout.valueStride), Int32(count),
        Int32(layout.stateRows), Int32(layout.panelVectors),
        recurrence.decay == .none ? nil : keptOver, ahead, statePanel(panel))
    }
  }
}
