import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// What the tokens of a chunk do to each other and to the state.
extension RecurrentScratch {
  /// out[t][s] = factor rows_t . kept(s, t) key_s, for s up to t.
  func products(
    _ rows: UnsafePointer<Float>, count: Int, factor: Float, into out: UnsafeMutablePointer<Float>
  ) {
    let (stride, square) = (layout.rowStride, layout.squareStride)
    if recurrence.decay == .perChannel {
      for first in Swift.stride(from: 0, to: count, by: RecurrentLayout.blockTokens) {
        decayedProducts(
          rows, first..<min(first + RecurrentLayout.blockTokens, count), into: out)
      }
      if factor != 1 { functions.pointee.scale_row(out, Int64(count * square), factor) }
      return
    }
    // Whole tiles of rows at a time, and the keys up to their last one.
    for first in Swift.stride(from: 0, to: count, by: layout.scoredRows) {
      let own = min(layout.scoredRows, count - first)
      for panel in Swift.stride(from: 0, to: first + own, by: lanes) {
        let vectors = layout.vectors(min(lanes, first + own - panel))
        functions.pointee.product(
          rows + first * stride, Int64(stride), Int32(own), Int32(layout.stateRows),
          transposed + panel * layout.stateRows, Int64(lanes), Int32(vectors), ATTN_RECTANGLE, 0,
          out + first * square + panel, Int64(square))
      }
    }
    if recurrence.decay == .perHead {
      functions.pointee.multiply(out, between, factor, Int64(count * square), out)
    } else if factor != 1 {
      functions.pointee.scale_row(out, Int64(count * square), factor)
    }
  }

  /// The rows of a block with a decay for each channel: with the keys of their own block one by one, with
  /// those before it by a product.
  private func decayedProducts(
    _ rows: UnsafePointer<Float>, _ block: Range<Int>, into out: UnsafeMutablePointer<Float>
  ) {
    let (stride, square, first) = (layout.rowStride, layout.squareStride, block.lowerBound)
    for t in block {
      functions.pointee.decayed_dots(
        rows + t * stride, keys + first * stride, decays + first * stride, Int64(stride),
        Int32(stride), Int32(t - first), partial, out + t * square + first)
    }
    if first == 0 { return }
    functions.pointee.multiply(
      rows + first * stride, keptInBlock + first * stride, 1, Int64(block.count * stride),
      blockRows)
    let before = transposed(before: first)
    for panel in Swift.stride(from: 0, to: first, by: lanes) {
      functions.pointee.product(
        blockRows, Int64(stride), Int32(block.count), Int32(layout.stateRows),
        before + panel * layout.stateRows, Int64(lanes),
        Int32(layout.vectors(min(lanes, first - panel))), ATTN_RECTANGLE, 0,
        out + first * square + panel, Int64(square))
    }
  }

  /// The transposed keys before a block that is not the first.
  private func transposed(before first: Int) -> UnsafeMutablePointer<Float> {
    transposed
      + (first / RecurrentLayout.blockTokens - 1) * layout.squareStride * layout.stateRows
  }

  /// Transposes the keys; where a decay is a channel's, those before each block, as far as they are kept
  /// up to it.
  func transpose(_ count: Int) {
    guard recurrence.decay == .perChannel else {
      return transpose(keys, count, into: transposed)
    }
    let (stride, size) = (layout.rowStride, RecurrentLayout.blockTokens)
    let multiply = functions.pointee.multiply
    for first in Swift.stride(from: size, to: count, by: size) {
      // What the block before keeps of what came before it.
      let over = keptInBlock + (first - 1) * stride
      for s in 0..<first - size {
        multiply(keptKeys + s * stride, over, 1, Int64(stride), keptKeys + s * stride)
      }
      // What it keeps of its own keys. The rows to be are where that is worked out.
      let after = blockRows
      after.update(repeating: 1, count: stride)
      for s in (first - size..<first).reversed() {
        multiply(keys + s * stride, after, 1, Int64(stride), keptKeys + s * stride)
        multiply(decays + s * stride, after, 1, Int64(stride), after)
      }
      transpose(keptKeys, first, into: transposed(before: first))
    }
  }

  func transpose(
    _ source: UnsafePointer<Float>, _ count: Int, into out: UnsafeMutablePointer<Float>
  ) {
    for first in Swift.stride(from: 0, to: count, by: lanes) {
      let live = min(lanes, count - first)
      for index in 0..<live {
        rows[index] = UnsafeRawPointer(source + (first + index) * layout.rowStride)
      }
      functions.pointee.pack(
        rows.floats, Int32(live), Int32(layout.stateRows), 1, out + first * layout.stateRows)
    }
  }

  /// What the tokens of a chunk write, less what they erase of it and of the state.
  func erase(_ count: Int, _ head: Head) {
    if !recurrence.erases { return }
    let (stride, square) = (layout.rowStride, layout.squareStride)
    products(erases, count: count, factor: -1, into: erasing)
    scale(erases, by: kept, -1, count: count)
    let valueStride = Int64(layout.valueStride)
    for panel in head.panels {
      let out = written + panel * layout.width
      functions.pointee.product(
        erases, Int64(stride), Int32(count), Int32(layout.stateRows),
        statePanel(panel), Int64(layout.width),
        Int32(layout.panelVectors), ATTN_RECTANGLE, 1, out, valueStride)
      functions.pointee.product(
        erasing, Int64(square), Int32(count), 0, out, valueStride,
        Int32(layout.panelVectors), ATTN_SOLVE, 1, out, valueStride)
    }
  }

  /// Takes the tokens of a chunk into the state; the keys are used up.
  func takeIn(_ count: Int, _ head: Head) {
    let stride = layout.rowStride
    if recurrence.normalises {
      functions.pointee.add_rows(
        keys, Int64(stride), Int32(count), Int32(stride), state + layout.keySum(head.piece))
    }
    scale(keys, by: keptToEnd, 1, count: count)
    for panel in head.panels {
      functions.pointee.take_in(
        keys, Int64(stride), written + panel * layout.width, Int64(layout.valueStride),
        Int32(count), Int32(layout.stateRows), Int32(layout.panelVectors),
        recurrence.decay == .none ? nil : keptOver,
        statePanel(panel))
    }
  }
}
