import AttentionContract
import AttentionKernels
import CAttentionKernels
import RealModule
import Tensors

/// What tokens bring: their rows, what the strategy makes of them, and what is kept of one until another.
extension RecurrentScratch {
  /// Finds a head's rows of the operands, which are looked up by name: once for all its tokens.
  func locateGates(_ operands: AttentionOperands, _ head: Head) {
    for (index, declaration) in layout.operands.enumerated() {
      let view = operands.inputs.named[declaration.name]
      gateBases[index] = view?.gate(head.batch, head.kvHead, 0)
      gateStrides[index] = view.map { $0.shape.rows == 1 ? 0 : $0.rowStride } ?? 0
    }
  }

  /// Reads tokens and has the strategy make of them what is written, erased and kept.
  ///
  /// - Parameter limit: tokens there are; those after them may not even have an address.
  func load(
    _ tokens: Range<Int>, _ operands: AttentionOperands, _ head: Head, limit: Int
  ) {
    let stride = layout.rowStride
    widen(operands.key, head.batch, head.kvHead, tokens, into: keys, stride: stride)
    prefetch(operands.key, head.batch, head.kvHead, after: tokens, limit: limit)
    widen(
      operands.value, head.batch, head.kvHead, tokens, into: written, stride: layout.valueStride)
    prefetch(operands.value, head.batch, head.kvHead, after: tokens, limit: limit)
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
    for (index, row) in range.enumerated() { rows[index] = tensor.rowAddress(batch, head, row) }
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

  /// Prefetches as many rows as a range has, those after it, which are usually next.
  func prefetch(
    _ tensor: TensorView, _ batch: Int, _ head: Int, after range: Range<Int>, limit: Int
  ) {
    let next = range.upperBound..<max(min(range.upperBound + range.count, limit), range.upperBound)
    for (index, row) in next.enumerated() { rows[index] = tensor.rowAddress(batch, head, row) }
    functions.pointee.prefetch(rows, Int32(next.count), tensor.rowBytes)
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
        kept[t * stride] = t == 0 ? factor : kept[(t - 1) * stride] * factor
      }
      functions.pointee.kept_between(
        decays, Int64(stride), Int32(count), Int64(layout.squareStride), between)
      let last = between + (count - 1) * layout.squareStride
      for t in 0..<count { keptToEnd[t * stride] = last[t] }
      keptOver.update(repeating: kept[(count - 1) * stride], count: layout.stateRows)
    case .perChannel:
      functions.pointee.exp_row(decays, Int64(count * stride), decays)
      let multiply = functions.pointee.multiply
      for t in 0..<count {
        let row = t * stride
        if t % RecurrentLayout.blockTokens == 0 {
          (keptInBlock + row).update(from: decays + row, count: stride)
        } else {
          multiply(keptInBlock + row - stride, decays + row, 1, Int64(stride), keptInBlock + row)
        }
        let first = t / RecurrentLayout.blockTokens * RecurrentLayout.blockTokens
        if first == 0 {
          (kept + row).update(from: keptInBlock + row, count: stride)
        } else {
          multiply(
            keptInBlock + row, kept + (first - 1) * stride, 1, Int64(stride), kept + row)
        }
      }
      (keptToEnd + (count - 1) * stride).update(repeating: 1, count: stride)
      for t in Swift.stride(from: count - 2, through: 0, by: -1) {
        let next = (t + 1) * stride
        functions.pointee.multiply(
          keptToEnd + next, decays + next, 1, Int64(stride), keptToEnd + next - stride)
      }
      keptOver.update(from: kept + (count - 1) * stride, count: stride)
    }
  }

  /// rows = rows * factors * `factor`, token by token.
  func scale(
    _ rows: UnsafeMutablePointer<Float>, by factors: UnsafePointer<Float>, _ factor: Float,
    count: Int
  ) {
    let stride = layout.rowStride
    switch recurrence.decay {
    case .none:
      if factor != 1 { functions.pointee.scale_row(rows, Int64(count * stride), factor) }
    case .perHead:
      for t in 0..<count {
        functions.pointee.scale_row(
          rows + t * stride, Int64(layout.stateRows), factors[t * stride] * factor)
      }
    case .perChannel:
      functions.pointee.multiply(rows, factors, factor, Int64(count * stride), rows)
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
