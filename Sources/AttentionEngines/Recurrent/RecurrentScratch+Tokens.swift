import AttentionContract
import AttentionKernels
import CAttentionKernels
import RealModule
import Tensors

/// What tokens bring: their rows, what the strategy makes of them, and what is kept of one until another.
extension RecurrentScratch {
  /// Looks operands up by name: once a run, since a dictionary takes its time, and workers that count the
  /// references of an owner get into each other's way.
  func open(_ operands: AttentionOperands) {
    for (index, declaration) in layout.operands.enumerated() {
      gateViews[index] = operands.inputs.named[declaration.name]?.unowned
    }
    givenState = operands.inputs.named[RecurrentLayout.stateName]?.unowned
    finalState = operands.finalState?.unowned
  }

  /// Finds a head's rows of the operands.
  func locateGates(_ head: Head) {
    for index in gateViews.indices {
      let view = gateViews[index]
      gateBases[index] = view?.gate(head.batch, head.kvHead, 0)
      gateStrides[index] = view.map { $0.shape.rows == 1 ? 0 : $0.rowStride } ?? 0
      gateColumns[index] = view?.shape.columns ?? 0
    }
  }

  /// Reads tokens and has the strategy make of them what is written, erased and kept.
  func load(_ tokens: Range<Int>, _ operands: AttentionOperands, _ head: Head) {
    let stride = layout.rowStride
    widen(operands.key, head.batch, head.kvHead, tokens, into: keys, stride: stride)
    widen(
      operands.value, head.batch, head.kvHead, tokens, into: written, stride: layout.valueStride)
    for index in 0..<layout.operands.count {
      gates[index] = gateBases[index].map { $0 + tokens.lowerBound * gateStrides[index] }
    }
    mapFeatures(keys, tokens.count)
    strategy.take(
      RecurrentTokens(
        head: head.kvHead, count: tokens.count, keys: keys, values: written,
        additions: additions, erases: erases, decays: decays, keyStride: stride,
        valueStride: layout.valueStride, additionStride: recurrence.adds ? layout.valueStride : 0,
        eraseStride: recurrence.erases ? stride : 0,
        decayStride: recurrence.decay == .none ? 0 : stride, headDim: shape.headDim,
        valueDim: shape.valueDim, gates: gates, gateStrides: gateStrides, kernels: kernels))
    if recurrence.decay == .perChannel {
      clearPadding(decays, tokens.count, from: layout.stateRows)
    }
  }

  /// What lies behind a row's last number takes part in vector operations, and must not grow.
  private func clearPadding(_ rows: UnsafeMutablePointer<Float>, _ count: Int, from first: Int) {
    let stride = layout.rowStride
    if first == stride { return }
    for row in 0..<count {
      for column in first..<stride { rows[row * stride + column] = 0 }
    }
  }

  /// The features of keys or queries.
  func mapFeatures(_ rows: UnsafeMutablePointer<Float>, _ count: Int) {
    clearPadding(rows, count, from: shape.headDim)
    strategy.mapFeatures(
      rows, count: count, stride: layout.rowStride, headDim: shape.headDim, kernels: kernels)
    clearPadding(rows, count, from: layout.stateRows)
  }

  /// Brings rows to fp32.
  func widen(
    _ tensor: TensorView, _ batch: Int, _ head: Int, _ range: Range<Int>,
    into out: UnsafeMutablePointer<Float>, stride: Int
  ) {
    let columns = tensor.shape.columns
    if tensor.elementType == .float32, columns == stride, tensor.rowStride == stride,
      tensor.regularRows(from: range.lowerBound, limit: range.count) == range.count
    {
      return out.update(
        from: tensor.row(batch, head, range.lowerBound), count: range.count * stride)
    }
    locate(tensor, batch, head, range)
    let storage = tensor.elementType.storage
    let scales = tensor.channelScales(batch, head)
    if columns == stride {
      functions.pointee.widen(rows, Int32(range.count), Int32(columns), storage, scales, out)
      return
    }
    for index in 0..<range.count {
      functions.pointee.widen(
        rows + index, 1, Int32(columns), storage, scales, out + index * stride)
    }
  }

  /// Puts down where rows begin.
  func locate(_ tensor: TensorView, _ batch: Int, _ head: Int, _ range: Range<Int>) {
    let stride = tensor.rowStride * tensor.elementType.byteCount
    var row = range.lowerBound
    while row < range.upperBound {
      let first = tensor.rowAddress(batch, head, row)
      let count = tensor.regularRows(from: row, limit: range.upperBound - row)
      let place = rows + (row - range.lowerBound)
      for index in 0..<count { place[index] = first + index * stride }
      row += count
    }
  }

  /// What is kept, of `count` tokens.
  func decay(_ count: Int) {
    let stride = layout.rowStride
    switch recurrence.decay {
    case .none: return
    case .perHead:
      for t in 0..<count {
        // Exact to the last bit: products of thousands of them matter.
        let factor = Float.exp(decays[t * stride])
        decays[t * stride] = factor
        kept[t] = t == 0 ? factor : kept[t - 1] * factor
      }
      functions.pointee.kept_between(
        decays, Int64(stride), Int32(count), Int64(layout.squareStride), between)
      keptOver.update(repeating: kept[count - 1], count: layout.stateRows)
    case .perChannel:
      let size = RecurrentLayout.blockTokens
      functions.pointee.channel_decays(
        decays, Int64(stride), Int32(count), Int32(stride), Int32(size), kept)
      keptBefore.update(repeating: 1, count: stride)
      var first = 0
      while first < count {
        let next = min(first + size, count)
        let before = keptBefore + first / size * stride
        functions.pointee.multiply_rows(
          before, 0, 1, Int32(stride), kept + (next - 1) * stride, 0, 1,
          next == count ? keptOver : before + stride)
        first = next
      }
    }
  }
}

extension TensorView {
  /// The row of an operand for a token of a key/value head; axes that it does not have count once.
  func gate(_ batch: Int, _ head: Int, _ token: Int) -> UnsafePointer<Float> {
    row(
      shape.batch == 1 ? 0 : batch, shape.heads == 1 ? 0 : head, shape.rows == 1 ? 0 : token)
  }
}
