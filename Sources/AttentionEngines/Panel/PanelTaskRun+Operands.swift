import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// How rows of tensors become operands of a panel's products.
extension PanelTaskRun {
  /// Packs the query rows that the scratch points at.
  func pack(_ slot: Int, count: Int) {
    let rows = scratch.inputRows
    let (columns, scale) = (Int32(plan.problem.shape.headDim), scratch.scale.ofQueries)
    if let scaled = scratch.format.scaled {
      rows.bring(
        count, of: operands.query, task.batch, task.kvHead, by: scratch.rowCopies, functions)
      scaled.pointee.pack_queries(
        rows.floats, Int32(count), columns, means.query, means.key, scale, scratch.queryWords,
        scratch.queries(slot), scratch.queryScales(slot), scratch.queryShifts(slot))
      return
    }
    bring(
      rows, of: operands.query, count: count, isTogether: true, isWhole: true,
      by: scratch.rowCopies, into: scratch.queryWords)
    if let pairs = scratch.format.pairs {
      pairs.pointee.pack(rows, Int32(count), columns, scale, scratch.queries(slot))
    } else {
      functions.pointee.pack(rows.floats, Int32(count), columns, scale, scratch.queries(slot))
    }
  }

  /// Brings the rows of a block's keys and values together, as they are multiplied, where they are
  /// not stored so or far apart: at a large power of two they would share a few cache sets and be
  /// fetched again for every panel and every tile of value columns.
  func copyTogether(_ keys: KeySequence, places: Range<Int>, block: Int) {
    let start = places.lowerBound - block
    if let scaled = scratch.format.scaled { return scale(places.count, from: start, by: scaled) }
    if let additive = plan.additive {
      additive.units.makeKeys(
        scratch.keyRows + start, count: places.count, into: scratch.keyCopies, functions)
    } else {
      bring(
        scratch.keyRows + start, of: operands.key, count: places.count,
        isTogether: !areApart(keys, operands.key), isWhole: true, by: scratch.keyCopies,
        into: scratch.keyWords)
    }
    bring(
      scratch.valueRows + start, of: operands.value, count: places.count,
      isTogether: !areApart(keys, operands.value), isWhole: false, by: scratch.valueCopies,
      into: scratch.valueWords)
    if let pairs = scratch.format.pairs {
      pairs.pointee.pair_values(
        scratch.valueRows + start, Int32(places.count), Int32(plan.problem.shape.valueDim),
        UnsafeMutableRawPointer(mutating: scratch.groupRows[start / scratch.format.wordKeys]))
    }
  }

  /// The means that keys and queries are taken less.
  private var means: OperandMeans.Rows { plan.means.rows(task.batch, task.kvHead) }

  /// Makes the rows of a block's keys and values, from a place on, fractions of their largest elements.
  private func scale(
    _ count: Int, from start: Int, by scaled: UnsafePointer<attn_scaled_rows>
  ) {
    let shape = plan.problem.shape
    let (keys, values) = (scratch.keyRows + start, scratch.valueRows + start)
    keys.bring(count, of: operands.key, task.batch, task.kvHead, by: scratch.keyCopies, functions)
    values.bring(
      count, of: operands.value, task.batch, task.kvHead, by: scratch.valueCopies, functions)
    scaled.pointee.make_keys(
      keys.floats, Int32(start), Int32(count), Int32(shape.headDim), means.key, means.scaledQuery,
      scratch.keyWords, scratch.scales)
    let stride = 4 * scratch.format.words(shape.headDim)
    for index in 0..<count {
      keys[index] = UnsafeRawPointer(scratch.keyWords + index * stride)
    }
    scaled.pointee.make_values(
      values.floats, Int32(start), Int32(count), Int32(shape.valueDim),
      UnsafeMutableRawPointer(mutating: scratch.groupRows[start / scratch.format.wordKeys]),
      scratch.scales)
  }

  /// Has rows point at elements that are multiplied: in place where they are stored so.
  ///
  /// - Parameters:
  ///   - isTogether: whether rows that are stored so may stay where they are.
  ///   - isWhole: whether a row must fill its last word.
  ///   - floats: takes rows as fp32 that are not stored as fp32.
  ///   - words: takes rows of pairs.
  private func bring(
    _ rows: RowPointers, of tensor: TensorView, count: Int, isTogether: Bool, isWhole: Bool,
    by floats: UnsafeMutablePointer<Float>, into words: UnsafeMutableRawPointer
  ) {
    let pairs = scratch.format.pairs
    let columns = tensor.shape.columns
    let isOperand = tensor.elementType == (pairs == nil ? .float32 : .bfloat16)
    if isOperand, isTogether, !isWhole || columns % scratch.format.wordColumns == 0 { return }
    if isOperand, pairs != nil {
      return rows.copyWords(count: count, columns: columns, into: words)
    }
    if isOperand || tensor.elementType != .float32 {
      rows.widen(
        count: count, columns: columns, storage: tensor.elementType.storage,
        columnScales: tensor.channelScales(task.batch, task.kvHead), into: floats, functions)
    }
    if let pairs { rows.round(count: count, columns: columns, into: words, pairs) }
  }
}
