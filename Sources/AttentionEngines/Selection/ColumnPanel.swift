import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// Some rows of a head in the lanes of a panel, which meet the keys that all of them keep, each as far as it sees
/// them: at the speed of dense attention, wherever the keys lie. What they come to goes on in `DecodedRows`.
struct ColumnPanel {
  /// Where its memory lies.
  struct Layout: Sendable {
    /// `[d][L]`, `[dV][L]`, `[ATTN_BLOCK_KEYS][L]`, `[L]` the others.
    fileprivate let queries: ArenaPart<Float>
    fileprivate let output: ArenaPart<Float>
    fileprivate let weights: ArenaPart<Float>
    fileprivate let maxima: ArenaPart<Float>
    fileprivate let sums: ArenaPart<Float>
    fileprivate let factors: ArenaPart<Float>
    fileprivate let lower: ArenaPart<Int32>
    fileprivate let upper: ArenaPart<Int32>
    fileprivate let inputRows: ArenaPart<UnsafeRawPointer>
    fileprivate let outputRows: ArenaPart<UnsafeMutablePointer<Float>>
    /// `[L][d]` queries as fp32, where they are stored as something else.
    fileprivate let copies: ArenaPart<Float>
    fileprivate let tables: KeyValueRows.Layout

    init(_ problem: AttentionProblem, _ kernels: KernelTable, in arena: inout ArenaLayout) {
      let (shape, lanes) = (problem.shape, kernels.panelLanes)
      queries = arena.add(shape.headDim * lanes)
      output = arena.add(shape.valueDim * lanes)
      weights = arena.add(Int(ATTN_BLOCK_KEYS) * lanes)
      maxima = arena.add(lanes)
      sums = arena.add(lanes)
      factors = arena.add(lanes)
      lower = arena.add(lanes)
      upper = arena.add(lanes)
      inputRows = arena.add(lanes)
      outputRows = arena.add(lanes)
      copies = arena.add(problem.storage.query == .float32 ? 0 : lanes * shape.headDim)
      tables = KeyValueRows.Layout(
        problem, count: Int(ATTN_BLOCK_KEYS), isCopied: problem.storage.keyValue != .float32,
        in: &arena)
    }
  }

  private let problem: AttentionProblem
  private let kernels: KernelTable
  private let queries: UnsafeMutablePointer<Float>
  private let output: UnsafeMutablePointer<Float>
  private let weights: UnsafeMutablePointer<Float>
  private let maxima: UnsafeMutablePointer<Float>
  private let sums: UnsafeMutablePointer<Float>
  private let factors: UnsafeMutablePointer<Float>
  private let lower: UnsafeMutablePointer<Int32>
  private let upper: UnsafeMutablePointer<Int32>
  private let inputRows: RowPointers
  private let outputRows: UnsafeMutablePointer<UnsafeMutablePointer<Float>>
  private let copies: UnsafeMutablePointer<Float>
  private let tables: KeyValueRows

  /// - Parameter arena: outlives it.
  init(
    _ problem: AttentionProblem, _ kernels: KernelTable, _ parts: Layout,
    _ arena: borrowing Arena
  ) {
    self.problem = problem
    self.kernels = kernels
    queries = arena[parts.queries]
    output = arena[parts.output]
    weights = arena[parts.weights]
    maxima = arena[parts.maxima]
    sums = arena[parts.sums]
    factors = arena[parts.factors]
    lower = arena[parts.lower]
    upper = arena[parts.upper]
    inputRows = arena[parts.inputRows]
    outputRows = arena[parts.outputRows]
    copies = arena[parts.copies]
    tables = KeyValueRows(parts.tables, arena, kernels.functions)
  }

  /// Lets rows meet the columns.
  ///
  /// - Parameters:
  ///   - columns: keys, rising.
  ///   - rows: L at most.
  ///   - first: the place of the first row in `decoded`, where the rows go on.
  func meet(
    _ columns: UnsafeBufferPointer<Int32>, _ rows: Range<Int>, _ geometry: MaskGeometry,
    _ batch: Int, _ head: Int, _ operands: AttentionOperands, into decoded: DecodedRows,
    from first: Int
  ) {
    let shape = problem.shape
    read(rows, batch, head, operands)
    let most = bound(rows, by: columns, geometry)
    let kvHead = head / shape.groupSize
    for block in stride(from: 0, to: most, by: Int(ATTN_BLOCK_KEYS)) {
      let count = min(Int(ATTN_BLOCK_KEYS), most - block)
      for place in 0..<count {
        let key = Int(columns[block + place])
        tables.keys[place] = operands.key.rowAddress(batch, kvHead, key)
        tables.values[place] = operands.value.rowAddress(batch, kvHead, key)
      }
      tables.bring(count, batch, kvHead, operands)
      attend(count, from: block, rows: rows.count)
    }
    factors.update(repeating: 1, count: rows.count)
    for lane in 0..<rows.count { outputRows[lane] = decoded.output(first + lane) }
    kernels.functions.pointee.unpack(
      output, factors, nil, Int32(rows.count), Int32(shape.valueDim), outputRows)
    for lane in 0..<rows.count {
      decoded.go(on: first + lane, from: SoftmaxState(maximum: maxima[lane], sum: sums[lane]))
    }
  }

  /// Packs the queries; nothing has been seen.
  private func read(
    _ rows: Range<Int>, _ batch: Int, _ head: Int, _ operands: AttentionOperands
  ) {
    let (shape, lanes) = (problem.shape, kernels.panelLanes)
    let query = operands.query
    for (lane, row) in rows.enumerated() {
      inputRows[lane] = query.rowAddress(batch, head, row)
    }
    if query.elementType != .float32 {
      inputRows.widen(
        count: rows.count, columns: shape.headDim, storage: query.elementType.storage,
        into: copies, kernels.functions)
    }
    kernels.functions.pointee.pack(
      inputRows.floats, Int32(rows.count), Int32(shape.headDim),
      ScoreScale(problem.scale, for: .float32).ofQueries, queries)
    maxima.update(repeating: -.infinity, count: lanes)
    sums.update(repeating: 0, count: lanes)
    output.update(repeating: 0, count: shape.valueDim * lanes)
  }

  /// How many of the columns each row sees, the first ones.
  ///
  /// - Returns: the most.
  private func bound(
    _ rows: Range<Int>, by columns: UnsafeBufferPointer<Int32>, _ geometry: MaskGeometry
  ) -> Int {
    let lanes = kernels.panelLanes
    lower.update(repeating: 0, count: lanes)
    upper.update(repeating: 0, count: lanes)
    var (seen, most) = (0, 0)
    for (lane, row) in rows.enumerated() {
      let end = geometry.visible(from: row + geometry.offset).count
      if seen > 0, columns[seen - 1] >= end { seen = 0 }
      while seen < columns.count, columns[seen] < end { seen += 1 }
      upper[lane] = Int32(seen)
      most = max(most, seen)
    }
    return most
  }

  /// Meets the columns in the tables, which begin with number `first`.
  private func attend(_ count: Int, from first: Int, rows: Int) {
    let shape = problem.shape
    let vectors = Int32((rows + kernels.vectorLanes - 1) / kernels.vectorLanes)
    let isSeen = (0..<rows).allSatisfy { Int(upper[$0]) >= first + count }
    var piece = attn_piece(
      first: 0, count: Int32(count), first_vector: 0, vectors: vectors,
      masked: isSeen ? 0 : ATTN_BY_BOUNDS)
    var panel = attn_panel(
      queries: queries, weights: weights, output: output, maxima: maxima, sums: sums,
      head_words: Int32(shape.headDim), value_dim: Int32(shape.valueDim), vectors: vectors,
      factor: ScoreScale(problem.scale, for: .float32).ofProducts,
      softcap: problem.log16Softcap, query_scales: nil)
    withUnsafePointer(to: &piece) { piece in
      var block = attn_block(
        keys: tables.keys, values: tables.values, pieces: piece, piece_count: 1,
        first_key: Int32(first), lower: lower, upper: upper, prefetch: nil, bias: nil,
        key_bias: nil, scales: nil)
      attn_attend(kernels.functions, ATTN_FP32, &panel, &block)
    }
  }
}
