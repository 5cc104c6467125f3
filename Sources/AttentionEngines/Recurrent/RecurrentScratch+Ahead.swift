import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// What is read and stored next, which the products prefetch on their way: memory works while they do.
extension RecurrentScratch {
  /// Takes the chunk after one.
  func lookAhead(
    after chunk: RecurrentLayout.Chunk, _ walk: RecurrentLayout.Walk, _ operands: AttentionOperands,
    _ head: Head
  ) {
    beginAhead()
    let first = chunk.tokens.upperBound
    if first < walk.tokens.upperBound {
      let next = walk.chunk(from: first)
      add(operands.key, head.batch, head.kvHead, next.tokens)
      add(operands.value, head.batch, head.kvHead, next.tokens)
      for index in 0..<layout.operands.count where gateStrides[index] != 0 {
        guard let base = gateBases[index] else { continue }
        let stride = 4 * gateStrides[index]
        add(
          UnsafeRawPointer(base) + first * stride, stride: stride,
          bytes: 4 * gateColumns[index], rows: next.tokens.count)
      }
      add(queries: next.queries, operands, head)
    }
    setPace(queries: !chunk.queries.isEmpty, isInChunk: true, count: chunk.tokens.count, head)
  }

  /// Takes the query rows after some that see all tokens.
  func lookAhead(
    after range: Range<Int>, limit: Int, _ operands: AttentionOperands, _ head: Head
  ) {
    beginAhead()
    add(
      queries: range.upperBound..<min(range.upperBound + layout.chunk, limit), operands, head)
    setPace(queries: true, isInChunk: false, count: range.count, head)
  }

  private func beginAhead() {
    ahead.pointee = attn_ahead(
      stretches: stretches, count: 0, lines: 0, place: 0, row: 0, offset: 0)
  }

  /// Query rows, and where their outputs go.
  private func add(queries range: Range<Int>, _ operands: AttentionOperands, _ head: Head) {
    if range.isEmpty { return }
    for queryHead in head.kvHead * shape.groupSize..<(head.kvHead + 1) * shape.groupSize {
      add(operands.query, head.batch, queryHead, range)
      add(operands.output.reading, head.batch, queryHead, range)
    }
  }

  private func add(_ tensor: TensorView, _ batch: Int, _ head: Int, _ range: Range<Int>) {
    var row = range.lowerBound
    while row < range.upperBound {
      let count = tensor.regularRows(from: row, limit: range.upperBound - row)
      add(
        tensor.rowAddress(batch, head, row),
        stride: tensor.rowStride * tensor.elementType.byteCount,
        bytes: Int(tensor.rowBytes), rows: count)
      row += count
    }
  }

  /// What there is no room for is not prefetched.
  private func add(_ start: UnsafeRawPointer, stride: Int, bytes: Int, rows: Int) {
    let count = Int(ahead.pointee.count)
    if count == layout.stretchesAhead { return }
    // Rows without gaps are one.
    let isWhole = stride == bytes
    stretches[count] = attn_row_stretch(
      start: start, stride: Int64(stride), bytes: Int64(isWhole ? rows * bytes : bytes),
      rows: isWhole ? 1 : Int64(rows))
    ahead.pointee.count += 1
  }

  /// Spreads the lines over the products of a chunk, as the kernels cut them.
  private func setPace(queries: Bool, isInChunk: Bool, count: Int, _ head: Head) {
    let lines = (0..<Int(ahead.pointee.count)).reduce(0) {
      $0 + Int(stretches[$1].rows * ((stretches[$1].bytes + 63) / 64))
    }
    let tile = kernels.tileKeys
    func pieces(_ columns: Int) -> Int { (columns + 31) / 32 }
    let tiles = (count + tile - 1) / tile
    let own = isInChunk ? tiles / 2 * pieces(count) : 0
    var calls = (queries ? shape.groupSize : 0) + (isInChunk && recurrence.erases ? 1 : 0)
    calls *= tiles * pieces(layout.stateRows) + own
    if isInChunk { calls += layout.stateRows / tile * pieces(count) }
    calls *= head.panels.count
    ahead.pointee.lines = Int32((lines + max(calls, 1) - 1) / max(calls, 1))
  }
}
