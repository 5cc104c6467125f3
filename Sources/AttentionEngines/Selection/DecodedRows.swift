import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// Query rows as decoding has them, vectors along their columns: rows in places, some of which, next to each
/// other, meet the same keys.
struct DecodedRows {
  /// Where their memory lies.
  struct Layout: Sendable {
    /// `[max(d, dV)]`, a row as fp32.
    fileprivate let row: ArenaPart<Float>
    /// `[together][ATTN_DECODE_SCORES]`, `[together]` each.
    fileprivate let scores: ArenaPart<Float>
    fileprivate let lower: ArenaPart<Int32>
    fileprivate let upper: ArenaPart<Int32>
    /// `[places][queryStride]`, `[places][dV]`, `[places]` each.
    fileprivate let queries: ArenaPart<Float>
    fileprivate let output: ArenaPart<Float>
    fileprivate let maxima: ArenaPart<Float>
    fileprivate let sums: ArenaPart<Float>
    /// `[keys][d]` and `[keys][dV]`, rows of 8-bit integers as fp32: with their scales applied to elements a
    /// row gets the bits that it gets in panels.
    fileprivate let keyCopies: ArenaPart<Float>
    fileprivate let valueCopies: ArenaPart<Float>

    /// - Parameters:
    ///   - together: rows that meet the same keys.
    ///   - keys: how many they meet at a time.
    init(
      _ problem: AttentionProblem, places: Int, together: Int, keys: Int,
      in arena: inout ArenaLayout
    ) {
      let shape = problem.shape
      row = arena.add((max(shape.headDim, shape.valueDim) + 15) & ~15)
      scores = arena.add(together * Int(ATTN_DECODE_SCORES))
      lower = arena.add(together)
      upper = arena.add(together)
      queries = arena.add(places * DecodedRows.queryStride(shape))
      output = arena.add(places * shape.valueDim)
      maxima = arena.add(places)
      sums = arena.add(places)
      let copied = problem.storage.keyValue.isFloatingPoint ? 0 : keys
      keyCopies = arena.add(copied * shape.headDim)
      valueCopies = arena.add(copied * shape.valueDim)
    }
  }

  private static func queryStride(_ shape: AttentionShape) -> Int { (shape.headDim + 15) & ~15 }

  private let problem: AttentionProblem
  private let functions: UnsafePointer<attn_kernels>
  private let row: UnsafeMutablePointer<Float>
  private let scores: UnsafeMutablePointer<Float>
  private let lower: UnsafeMutablePointer<Int32>
  /// `[together]`: how many of the keys that are met each of the rows sees, the first ones.
  let upper: UnsafeMutablePointer<Int32>
  private let queries: UnsafeMutablePointer<Float>
  private let output: UnsafeMutablePointer<Float>
  private let maxima: UnsafeMutablePointer<Float>
  private let sums: UnsafeMutablePointer<Float>
  private let keyCopies: UnsafeMutablePointer<Float>
  private let valueCopies: UnsafeMutablePointer<Float>

  /// - Parameter arena: outlives it.
  init(
    _ problem: AttentionProblem, _ parts: Layout, _ arena: borrowing Arena,
    _ functions: UnsafePointer<attn_kernels>
  ) {
    self.problem = problem
    self.functions = functions
    row = arena[parts.row]
    scores = arena[parts.scores]
    lower = arena[parts.lower]
    upper = arena[parts.upper]
    queries = arena[parts.queries]
    output = arena[parts.output]
    maxima = arena[parts.maxima]
    sums = arena[parts.sums]
    keyCopies = arena[parts.keyCopies]
    valueCopies = arena[parts.valueCopies]
  }

  /// How keys and values lie when they are met.
  private var storage: ElementType {
    problem.storage.keyValue.isFloatingPoint ? problem.storage.keyValue : .float32
  }

  /// Reads a query into a place; nothing has been seen.
  func read(_ query: TensorView, _ batch: Int, _ head: Int, _ queryRow: Int, into place: Int) {
    let shape = problem.shape
    var source: UnsafeRawPointer = query.rowAddress(batch, head, queryRow)
    if problem.storage.query != .float32 {
      functions.pointee.widen(
        &source, 1, Int32(shape.headDim), problem.storage.query.storage, nil, row)
      source = UnsafeRawPointer(row)
    }
    functions.pointee.decode_query(
      source.assumingMemoryBound(to: Float.self), Int32(shape.headDim),
      problem.scale * Float.log16e, nil, queries + place * Self.queryStride(shape))
    (output + place * shape.valueDim).update(repeating: 0, count: shape.valueDim)
    (maxima[place], sums[place]) = (-.infinity, 0)
  }

  /// Lets the rows at some places meet the keys at the first places of the tables, as many each as `upper`
  /// says.
  func meet(
    _ count: Int, places: Range<Int>, keys: RowPointers, values: RowPointers, _ batch: Int,
    _ kvHead: Int, _ operands: AttentionOperands
  ) {
    if !problem.storage.keyValue.isFloatingPoint {
      keys.bring(count, of: operands.key, batch, kvHead, by: keyCopies, functions)
      values.bring(count, of: operands.value, batch, kvHead, by: valueCopies, functions)
    }
    let (first, shape) = (places.lowerBound, problem.shape)
    lower.update(repeating: 0, count: places.count)
    var state = attn_decode(
      storage: storage.storage, rows: Int32(places.count),
      head_dim: Int32(shape.headDim), value_dim: Int32(shape.valueDim),
      softcap: problem.log16Softcap, queries: queries + first * Self.queryStride(shape),
      query_stride: Int32(Self.queryStride(shape)), factor: 1, scores: scores,
      output: output + first * shape.valueDim, maxima: maxima + first, sums: sums + first,
      biases: nil)
    var chunk = attn_decode_chunk(
      keys: keys, values: values, numbers: nil, factors: nil, base: 0, first: 0,
      count: Int32(count),
      available: Int32(count), prefetch_distance: 8, lower: lower, upper: upper)
    functions.pointee.decode(&state, &chunk)
  }

  /// Stores the output and the LSE of a place.
  func store(
    _ place: Int, _ batch: Int, _ head: Int, _ queryRow: Int, _ operands: AttentionOperands
  ) {
    let columns = problem.shape.valueDim
    var state = SoftmaxState(maximum: maxima[place], sum: sums[place])
    if let sinks = problem.scoring.sinkLogits {
      _ = state.add(sink: sinks[head] * Float.log16e)
    }
    let out = output + place * columns
    for column in 0..<columns { out[column] *= state.factor }
    write(out, batch, head, queryRow, operands)
    operands.logSumExp?.row(batch, head, queryRow)[0] = state.naturalLogSumExp
  }

  /// Stores NaN in a row that a NaN has been selected for.
  func storeNaN(_ batch: Int, _ head: Int, _ queryRow: Int, _ operands: AttentionOperands) {
    row.update(repeating: .nan, count: problem.shape.valueDim)
    write(row, batch, head, queryRow, operands)
    operands.logSumExp?.row(batch, head, queryRow)[0] = .nan
  }

  private func write(
    _ out: UnsafePointer<Float>, _ batch: Int, _ head: Int, _ queryRow: Int,
    _ operands: AttentionOperands
  ) {
    var source = out
    var target = operands.output.rowAddress(batch, head, queryRow)
    functions.pointee.narrow(
      &source, 1, Int32(problem.shape.valueDim), problem.storage.output.storage, &target)
  }
}
