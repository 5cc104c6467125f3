import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// Rows as decoding has them, vectors along their columns: for groups too small to fill lanes.
final class SelectedFewRows: SelectedAttender {
  /// More rows than this fill a vector of lanes well enough.
  static let most = 4

  /// Where its memory lies.
  struct Layout: Sendable {
    /// `[max(d, dV)]`, a row as fp32.
    fileprivate let row: ArenaPart<Float>
    /// `[rows][queryStride]`, `[rows][ATTN_DECODE_SCORES]`, `[rows][dV]`, `[rows]` each.
    fileprivate let queries: ArenaPart<Float>
    fileprivate let scores: ArenaPart<Float>
    fileprivate let output: ArenaPart<Float>
    fileprivate let maxima: ArenaPart<Float>
    fileprivate let sums: ArenaPart<Float>
    fileprivate let lower: ArenaPart<Int32>
    fileprivate let upper: ArenaPart<Int32>
    /// `[ATTN_BLOCK_KEYS][d]` and `[ATTN_BLOCK_KEYS][dV]`, rows of 8-bit integers as fp32: with their
    /// scales applied to elements a row gets the bits that it gets in panels.
    fileprivate let keyCopies: ArenaPart<Float>
    fileprivate let valueCopies: ArenaPart<Float>

    init(_ layout: SelectionLayout, in arena: inout ArenaLayout) {
      let shape = layout.problem.shape
      let most = SelectedFewRows.most
      row = arena.add((max(shape.headDim, shape.valueDim) + 15) & ~15)
      queries = arena.add(most * SelectedFewRows.queryStride(shape))
      scores = arena.add(most * Int(ATTN_DECODE_SCORES))
      output = arena.add(most * shape.valueDim)
      maxima = arena.add(most)
      sums = arena.add(most)
      lower = arena.add(most)
      upper = arena.add(most)
      let keys = layout.problem.storage.keyValue.isFloatingPoint ? 0 : Int(ATTN_BLOCK_KEYS)
      keyCopies = arena.add(keys * shape.headDim)
      valueCopies = arena.add(keys * shape.valueDim)
    }
  }

  private static func queryStride(_ shape: AttentionShape) -> Int { (shape.headDim + 15) & ~15 }

  private let problem: AttentionProblem
  private let functions: UnsafePointer<attn_kernels>
  private let row: UnsafeMutablePointer<Float>
  private let queries: UnsafeMutablePointer<Float>
  private let scores: UnsafeMutablePointer<Float>
  private let output: UnsafeMutablePointer<Float>
  private let maxima: UnsafeMutablePointer<Float>
  private let sums: UnsafeMutablePointer<Float>
  private let lower: UnsafeMutablePointer<Int32>
  private let upper: UnsafeMutablePointer<Int32>
  private let keyCopies: UnsafeMutablePointer<Float>
  private let valueCopies: UnsafeMutablePointer<Float>

  /// - Parameter arena: outlives it.
  init(_ layout: SelectionLayout, _ parts: Layout, _ arena: borrowing Arena) {
    problem = layout.problem
    functions = layout.kernels.functions
    row = arena[parts.row]
    queries = arena[parts.queries]
    scores = arena[parts.scores]
    output = arena[parts.output]
    maxima = arena[parts.maxima]
    sums = arena[parts.sums]
    lower = arena[parts.lower]
    upper = arena[parts.upper]
    keyCopies = arena[parts.keyCopies]
    valueCopies = arena[parts.valueCopies]
  }

  /// Its kernel prefetches by distance.
  var prefetches: Bool { false }

  /// How keys and values lie when they are met.
  private var storage: ElementType {
    problem.storage.keyValue.isFloatingPoint ? problem.storage.keyValue : .float32
  }

  func begin(_ rows: SelectedGroup, _ operands: AttentionOperands) {
    let shape = problem.shape
    let count = rows.group.rows.count
    for (index, queryRow) in rows.group.rows.enumerated() {
      var source: UnsafeRawPointer = operands.query.rowAddress(rows.batch, rows.head, queryRow)
      if problem.storage.query != .float32 {
        functions.pointee.widen(
          &source, 1, Int32(shape.headDim), problem.storage.query.storage, nil, row)
        source = UnsafeRawPointer(row)
      }
      functions.pointee.decode_query(
        source.assumingMemoryBound(to: Float.self), Int32(shape.headDim),
        problem.scale * Float.log16e, nil,
        queries + index * Self.queryStride(shape))
    }
    output.update(repeating: 0, count: count * shape.valueDim)
    maxima.update(repeating: -.infinity, count: count)
    sums.update(repeating: 0, count: count)
  }

  func meet(
    _ count: Int, first: Int?, keys: RowPointers, values: RowPointers, _ rows: SelectedGroup,
    _ operands: AttentionOperands, prefetch: UnsafeMutablePointer<attn_prefetch_list>
  ) {
    if !problem.storage.keyValue.isFloatingPoint {
      keys.bring(count, of: operands.key, rows.batch, rows.kvHead, by: keyCopies, functions)
      values.bring(count, of: operands.value, rows.batch, rows.kvHead, by: valueCopies, functions)
    }
    for (index, row) in rows.group.rows.enumerated() {
      lower[index] = 0
      upper[index] = Int32(first.map { min(max(rows.end(of: row) - $0, 0), count) } ?? count)
    }
    var state = attn_decode(
      storage: storage.storage, rows: Int32(rows.group.rows.count),
      head_dim: Int32(problem.shape.headDim), value_dim: Int32(problem.shape.valueDim),
      softcap: problem.log16Softcap, queries: queries,
      query_stride: Int32(Self.queryStride(problem.shape)), factor: 1,
      scores: scores, output: output, maxima: maxima, sums: sums, biases: nil)
    var chunk = attn_decode_chunk(
      keys: keys, values: values, numbers: nil, factors: nil, base: 0, first: 0,
      count: Int32(count),
      available: Int32(count), prefetch_distance: 8, lower: lower, upper: upper)
    functions.pointee.decode(&state, &chunk)
  }

  func finish(_ rows: SelectedGroup, _ operands: AttentionOperands) {
    let columns = problem.shape.valueDim
    let type = problem.storage.output
    for (index, queryRow) in rows.group.rows.enumerated() {
      var state = SoftmaxState(maximum: maxima[index], sum: sums[index])
      if let sinks = problem.scoring.sinkLogits {
        _ = state.add(sink: sinks[rows.head] * Float.log16e)
      }
      let out = output + index * columns
      for column in 0..<columns { out[column] *= state.factor }
      var source = UnsafePointer(out)
      var target = operands.output.rowAddress(rows.batch, rows.head, queryRow)
      functions.pointee.narrow(&source, 1, Int32(columns), type.storage, &target)
      operands.logSumExp?.row(rows.batch, rows.head, queryRow)[0] = state.naturalLogSumExp
    }
  }
}
