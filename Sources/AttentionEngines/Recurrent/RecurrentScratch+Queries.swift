import AttentionContract
import AttentionKernels
import CAttentionKernels
import RealModule
import Tensors

/// What queries read.
extension RecurrentScratch {
  /// Reads the query rows of a head and takes their features.
  func load(
    queries range: Range<Int>, of query: TensorView, _ batch: Int, _ head: Int
  ) {
    widen(query, batch, head, range, into: queries, stride: layout.rowStride)
    prefetch(query, batch, head, after: range, limit: query.shape.rows)
    mapFeatures(queries, range.count)
  }

  /// The factor of outputs that are not divided.
  var factor: Float { recurrence.normalises ? 1 : layout.problem.scale }

  /// Outputs of query rows: those of a chunk stand at its first tokens and see what it has of them;
  /// others see the state alone.
  func attend(
    _ range: Range<Int>, isInChunk: Bool, _ operands: AttentionOperands, _ head: Head
  ) {
    let group = shape.groupSize
    let count = range.count
    let (stride, square) = (layout.rowStride, layout.squareStride)
    for queryHead in head.kvHead * group..<(head.kvHead + 1) * group {
      load(queries: range, of: operands.query, head.batch, queryHead)
      if recurrence.normalises {
        functions.pointee.dot_rows(
          queries, Int64(stride), Int32(count), Int32(stride), state + layout.keySum(head.piece),
          denominators)
      }
      if isInChunk {
        products(queries, count: count, factor: factor, into: scores)
        scale(queries, by: kept, factor, count: count)
        if recurrence.normalises {
          functions.pointee.add_lower_sums(scores, Int64(square), Int32(count), denominators)
        }
      } else if factor != 1 {
        functions.pointee.scale_row(queries, Int64(count * stride), factor)
      }
      let valueStride = Int64(layout.valueStride)
      for panel in head.panels {
        let out = output + panel * layout.width
        functions.pointee.product(
          queries, Int64(stride), Int32(count), Int32(layout.stateRows),
          statePanel(panel), Int64(layout.width),
          Int32(layout.panelVectors), ATTN_RECTANGLE, 0, out, valueStride)
        if isInChunk {
          functions.pointee.product(
            scores, Int64(square), Int32(count), 0,
            written + panel * layout.width, valueStride,
            Int32(layout.panelVectors), ATTN_LOWER, 1, out, valueStride)
        }
      }
      if isInChunk { add(additions, count, head, to: output) }
      store(range, operands, head, queryHead: queryHead, output, denominators)
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

  /// Divides where there are denominators, and stores the columns in work of a query head's rows, and
  /// their LSE.
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
    // One piece of a head is enough to say it.
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
