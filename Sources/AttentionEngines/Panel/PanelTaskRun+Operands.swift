import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// How rows of tensors become operands of a panel's products.
extension PanelTaskRun {
  /// Packs the query rows that the scratch points at.
  func pack(_ slot: Int, count: Int) {
    let rows = scratch.inputRows
    bring(
      rows, of: operands.query, count: count, isTogether: true, isWhole: true,
      by: scratch.rowCopies, into: scratch.queryWords)
    let (columns, scale) = (Int32(plan.problem.shape.headDim), scratch.scale.ofQueries)
    if let pairs = scratch.pairs {
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
    if let pairs = scratch.pairs {
      pairs.pointee.pair_values(
        scratch.valueRows + start, Int32(places.count), Int32(plan.problem.shape.valueDim),
        UnsafeMutableRawPointer(mutating: scratch.pairRows[start / 2]))
    }
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
    let arithmetic = scratch.arithmetic
    let columns = tensor.shape.columns
    let isOperand = tensor.elementType == arithmetic.elementType
    if isOperand, isTogether, !isWhole || columns % arithmetic.grain == 0 { return }
    if isOperand, scratch.pairs != nil {
      return rows.copyWords(count: count, columns: columns, into: words)
    }
    if isOperand || tensor.elementType != .float32 {
      rows.widen(
        count: count, columns: columns, storage: tensor.elementType.storage,
        columnScales: tensor.channelScales(task.batch, task.kvHead), into: floats, functions)
    }
    if let pairs = scratch.pairs { rows.round(count: count, columns: columns, into: words, pairs) }
  }
}
