import AttentionContract
import AttentionKernels
import CAttentionKernels
import RealModule
import Tensors

/// What queries read.
extension RecurrentScratch {
  /// Outputs of query rows: those of a chunk stand at its first tokens and see what it has of them;
  /// others see the state alone.
  func attend(
    _ range: Range<Int>, isInChunk: Bool, _ operands: AttentionOperands, _ head: Head
  ) {
    let group = shape.groupSize
    let count = range.count
    let stride = layout.rowStride
    for queryHead in head.kvHead * group..<(head.kvHead + 1) * group {
      widen(operands.query, head.batch, queryHead, range, into: queries, stride: stride)
      mapFeatures(queries, count)
      if recurrence.normalises {
        functions.pointee.dot_rows(
          queries, Int64(stride), Int32(count), Int32(stride), state + layout.keySum(head.piece),
          denominators)
      }
      if isInChunk {
        products(queries, count: count, factor: factor, into: scores)
        if recurrence.normalises {
          functions.pointee.add_lower_sums(
            scores, Int64(layout.squareStride), Int32(count), denominators)
        }
      } else if factor != 1 {
        functions.pointee.scale_row(queries, Int64(count * stride), factor)
      }
      let target = finalRows(range, operands, head, queryHead: queryHead)
      let out = target?.rows ?? output
      var rows = chunkRows(
        queries, count: count, scores, isInChunk ? ATTN_LOWER : ATTN_RECTANGLE,
        outputStride: target?.stride ?? layout.valueStride)
      for panel in head.panels {
        functions.pointee.chunk_rows(
          &rows, statePanel(panel), written + panel * layout.width, Int32(layout.panelVectors),
          ahead, out + panel * layout.width)
      }
      if target == nil {
        if isInChunk { add(additions, count, head, to: output) }
        store(range, operands, head, queryHead: queryHead, output, denominators)
      }
      storeSums(range, operands, head, queryHead: queryHead, denominators)
    }
  }

  /// What the tokens' own outputs have besides, of the columns in work.
  func add(
    _ additions: UnsafePointer<Float>, _ count: Int, _ head: Head,
    to rows: UnsafeMutablePointer<Float>
  ) {
    if !recurrence.adds { return }
    let columns = layout.columns(of: head.panels)
    for row in 0..<count {
      let place = row * layout.valueStride
      for column in columns { rows[place + column] += additions[place + column] }
    }
  }

  /// The rows of the output themselves, where what the products give is what belongs there: panels are whole,
  /// and nothing is added or divided.
  private func finalRows(
    _ range: Range<Int>, _ operands: AttentionOperands, _ head: Head, queryHead: Int
  ) -> (rows: UnsafeMutablePointer<Float>, stride: Int)? {
    let reading = operands.output.reading
    if recurrence.normalises || recurrence.adds || reading.elementType != .float32
      || layout.valueStride != shape.valueDim
      || reading.regularRows(from: range.lowerBound, limit: range.count) < range.count
    {
      return nil
    }
    return (operands.output.row(head.batch, queryHead, range.lowerBound), reading.rowStride)
  }

  /// Divides where there are denominators, and stores the columns in work of a query head's rows.
  ///
  /// - Parameters:
  ///   - source: `[range][valueStride]`.
  ///   - denominators: one a row.
  func store(
    _ range: Range<Int>, _ operands: AttentionOperands, _ head: Head, queryHead: Int,
    _ source: UnsafeMutablePointer<Float>, _ denominators: UnsafePointer<Float>
  ) {
    let type = operands.output.reading.elementType
    let columns = layout.columns(of: head.panels)
    for (index, row) in range.enumerated() {
      let place = source + index * layout.valueStride + columns.lowerBound
      if recurrence.normalises {
        functions.pointee.scale_row(
          place, Int64(columns.count),
          1 / (denominators[index] + Float(RecurrenceShape.epsilon)))
      }
      rows[index] = UnsafeRawPointer(place)
      outputRows[index] =
        operands.output.rowAddress(head.batch, queryHead, row)
        + columns.lowerBound * type.byteCount
    }
    functions.pointee.narrow(
      rows.floats, Int32(range.count), Int32(columns.count), type.storage, outputRows)
  }

  /// The LSE of a query head's rows; one piece of a head is enough to say it.
  func storeSums(
    _ range: Range<Int>, _ operands: AttentionOperands, _ head: Head, queryHead: Int,
    _ denominators: UnsafePointer<Float>
  ) {
    guard head.panels.lowerBound == 0, let lse = operands.logSumExp else { return }
    for (index, row) in range.enumerated() {
      lse.row(head.batch, queryHead, row)[0] =
        recurrence.normalises ? Float.log(denominators[index]) : 0
    }
  }

  /// Zeros for rows that see no token.
  func storeNothing(_ range: Range<Int>, _ operands: AttentionOperands, _ head: Head) {
    let type = operands.output.reading.elementType
    for queryHead in head.kvHead * shape.groupSize..<(head.kvHead + 1) * shape.groupSize {
      for row in range {
        for panel in head.panels {
          (operands.output.rowAddress(head.batch, queryHead, row)
            + panel * layout.width * type.byteCount)
            .initializeMemory(
              as: UInt8.self, repeating: 0, count: layout.columns(of: panel) * type.byteCount)
        }
        if head.panels.lowerBound == 0 {
          operands.logSumExp?.row(head.batch, queryHead, row)[0] = -.infinity
        }
      }
    }
  }
}
