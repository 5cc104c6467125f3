import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// A task whose products are bf16: how its operands are laid out and met. The rest, from the walk
/// over blocks to the division at the end, is that of every task.
extension PanelTaskRun {
  /// Packs the query rows that the scratch points at.
  func pack(_ slot: Int, count: Int, _ products: BFloat16Scratch) {
    let rows = scratch.inputRows
    let columns = plan.problem.shape.headDim
    makeBFloat16(
      rows, of: operands.query, count: count, isTogether: true, isEven: true,
      by: scratch.rowCopies, into: products.queryCopies, products)
    products.functions.pointee.pack(
      rows.bf16, Int32(count), Int32(columns), products.scale.ofQueries, scratch.queryWords(slot))
  }

  /// Rounds the keys of a block where they are not stored as bf16, and pairs its values.
  func pair(_ keys: KeySequence, from start: Int, count: Int, _ products: BFloat16Scratch) {
    let valueDim = plan.problem.shape.valueDim
    makeBFloat16(
      scratch.keyRows + start, of: operands.key, count: count,
      isTogether: !areApart(keys, operands.key), isEven: true, by: scratch.keyCopies,
      into: products.keyCopies, products)
    makeBFloat16(
      scratch.valueRows + start, of: operands.value, count: count,
      isTogether: !areApart(keys, operands.value), isEven: false, by: scratch.valueCopies,
      into: products.valueCopies, products)
    products.functions.pointee.pair_values(
      (scratch.valueRows + start).bf16, Int32(count), Int32(valueDim),
      products.valuePairs + start / 2 * BFloat16Scratch.outputRows(valueDim))
  }

  /// Has rows point at bf16 numbers: in place where they are stored so.
  ///
  /// - Parameters:
  ///   - isTogether: whether rows stored as bf16 may stay where they are.
  ///   - isEven: whether a row of an odd length needs a zero after it.
  ///   - floats: takes rows of other types as fp32.
  private func makeBFloat16(
    _ rows: RowPointers, of tensor: TensorView, count: Int, isTogether: Bool, isEven: Bool,
    by floats: UnsafeMutablePointer<Float>, into copies: UnsafeMutableRawPointer,
    _ products: BFloat16Scratch
  ) {
    let columns = tensor.shape.columns
    if tensor.elementType == .bfloat16 {
      if !isTogether || isEven && columns % 2 == 1 {
        rows.copyEven(count: count, columns: columns, into: copies)
      }
      return
    }
    if tensor.elementType != .float32 {
      rows.widen(
        count: count, columns: columns, storage: tensor.elementType.storage,
        columnScales: tensor.channelScales(task.batch, task.kvHead), into: floats, functions)
    }
    rows.round(count: count, columns: columns, into: copies, products.functions)
  }

  /// Lets a panel meet the pieces of a block.
  func attend(
    _ slot: Int, vectors: Int, bounds: PanelBounds, block: Int, pieces: Int,
    _ products: BFloat16Scratch
  ) {
    var panel = scratch.kernelPanel(slot, vectors: vectors, products)
    var keys = attn_bf16_block(
      keys: scratch.keyRows.bf16, values: products.valuePairs, pieces: scratch.pieces,
      piece_count: Int32(pieces), first_key: Int32(block), lower: bounds.lower,
      upper: bounds.upper, ahead: scratch.ahead.pending,
      bias: scratch.mask.map { UnsafePointer($0.bias) })
    products.functions.pointee.attend(&panel, &keys)
  }
}
