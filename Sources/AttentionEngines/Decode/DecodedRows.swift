import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// Query rows as decoding has them, vectors along their columns: rows in places, some of which, next to each
/// other, meet the same keys. A row may have several branches, each a softmax over keys of its own.
struct DecodedRows {
  /// Where their memory lies.
  struct Layout: Sendable {
    /// The keys that are met, and `[max(d, dV)]`, a row as fp32.
    fileprivate let tables: KeyValueRows.Layout
    fileprivate let row: ArenaPart<Float>
    /// `[together][ATTN_DECODE_SCORES]`, `[together]` each.
    fileprivate let scores: ArenaPart<Float>
    fileprivate let lower: ArenaPart<Int32>
    fileprivate let upper: ArenaPart<Int32>
    /// `[places][queryStride]`, `[branches][places][dV]`, `[branches][places]` each.
    fileprivate let queries: ArenaPart<Float>
    fileprivate let outputs: ArenaPart<Float>
    fileprivate let maxima: ArenaPart<Float>
    fileprivate let sums: ArenaPart<Float>
    fileprivate let places: Int
    fileprivate let branches: Int

    /// - Parameters:
    ///   - together: rows that meet the same keys.
    ///   - keys: how many they meet at a time.
    init(
      _ problem: AttentionProblem, places: Int, branches: Int = 1, together: Int, keys: Int,
      in arena: inout ArenaLayout
    ) {
      let shape = problem.shape
      self.places = places
      self.branches = branches
      // With their scales applied to elements rows of integers give the bits that they give in panels.
      tables = KeyValueRows.Layout(
        problem, count: keys, isCopied: !problem.storage.keyValue.isFloatingPoint, in: &arena)
      row = arena.add((max(shape.headDim, shape.valueDim) + 15) & ~15)
      scores = arena.add(together * Int(ATTN_DECODE_SCORES))
      lower = arena.add(together)
      upper = arena.add(together)
      queries = arena.add(places * DecodedRows.queryStride(shape))
      outputs = arena.add(branches * places * shape.valueDim)
      maxima = arena.add(branches * places)
      sums = arena.add(branches * places)
    }
  }

  private static func queryStride(_ shape: AttentionShape) -> Int { (shape.headDim + 15) & ~15 }

  private let problem: AttentionProblem
  private let functions: UnsafePointer<attn_kernels>
  private let places: Int
  private let branches: Int
  /// Of the keys that are met.
  let tables: KeyValueRows
  /// `[max(d, dV)]`, overwritten by `query` and `storeNaN`.
  let row: UnsafeMutablePointer<Float>
  private let scores: UnsafeMutablePointer<Float>
  private let lower: UnsafeMutablePointer<Int32>
  /// `[together]`: how many of the keys each of the rows sees, the first ones, where its keys are bounded.
  let upper: UnsafeMutablePointer<Int32>
  private let queries: UnsafeMutablePointer<Float>
  private let outputs: UnsafeMutablePointer<Float>
  private let maxima: UnsafeMutablePointer<Float>
  private let sums: UnsafeMutablePointer<Float>

  /// - Parameter arena: outlives it.
  init(
    _ problem: AttentionProblem, _ parts: Layout, _ arena: borrowing Arena,
    _ functions: UnsafePointer<attn_kernels>
  ) {
    self.problem = problem
    self.functions = functions
    (places, branches) = (parts.places, parts.branches)
    tables = KeyValueRows(parts.tables, arena, functions)
    row = arena[parts.row]
    scores = arena[parts.scores]
    lower = arena[parts.lower]
    upper = arena[parts.upper]
    queries = arena[parts.queries]
    outputs = arena[parts.outputs]
    maxima = arena[parts.maxima]
    sums = arena[parts.sums]
  }

  /// A query in fp32: itself, or a copy in `row`.
  func query(
    _ query: TensorView, _ batch: Int, _ head: Int, _ queryRow: Int
  ) -> UnsafePointer<Float> {
    var source = query.rowAddress(batch, head, queryRow)
    if problem.storage.query == .float32 { return source.assumingMemoryBound(to: Float.self) }
    functions.pointee.widen(
      &source, 1, Int32(problem.shape.headDim), problem.storage.query.storage, nil, row)
    return UnsafePointer(row)
  }

  /// Puts a query in fp32 into a place; nothing has been seen.
  func put(_ query: UnsafePointer<Float>, into place: Int) {
    let shape = problem.shape
    functions.pointee.decode_query(
      query, Int32(shape.headDim), problem.scale * Float.log16e, nil,
      queries + place * Self.queryStride(shape))
    for branch in 0..<branches {
      output(place, branch).update(repeating: 0, count: shape.valueDim)
      let index = index(place, branch)
      (maxima[index], sums[index]) = (-.infinity, 0)
    }
  }

  /// Reads a query into a place.
  func read(_ query: TensorView, _ batch: Int, _ head: Int, _ queryRow: Int, into place: Int) {
    put(self.query(query, batch, head, queryRow), into: place)
  }

  private func index(_ place: Int, _ branch: Int) -> Int { branch * places + place }

  /// `[dV]`, relative to the maximum of `state`.
  func output(_ place: Int, _ branch: Int = 0) -> UnsafeMutablePointer<Float> {
    outputs + index(place, branch) * problem.shape.valueDim
  }

  /// Where the softmax of a place stands.
  func state(_ place: Int, _ branch: Int = 0) -> SoftmaxState {
    let index = index(place, branch)
    return SoftmaxState(maximum: maxima[index], sum: sums[index])
  }

  /// Lets the row at a place go on from where its softmax stands after keys that it met elsewhere; the output,
  /// relative to that maximum, is in `output` already.
  func go(on place: Int, from state: SoftmaxState) {
    (maxima[index(place, 0)], sums[index(place, 0)]) = (state.maximum, state.sum)
  }

  /// Lets the rows at some places meet the keys at the first places of the tables.
  ///
  /// - Parameters:
  ///   - elementType: how keys and values lie; as they do once they have been brought, by default.
  ///   - isBounded: whether rows see as many keys as `upper` says, or all.
  ///   - numbers: `[count]` of the keys, where there is a bias.
  ///   - factors: `[count, rounded up to whole vectors]` what weights are multiplied by once they are summed.
  ///   - biases: one a place.
  func meet(
    _ count: Int, places: Range<Int>, branch: Int = 0, as elementType: ElementType? = nil,
    isBounded: Bool = false, numbers: UnsafePointer<Int32>? = nil,
    factors: UnsafePointer<Float>? = nil, biases: UnsafePointer<attn_row_bias>? = nil
  ) {
    let (first, shape) = (index(places.lowerBound, branch), problem.shape)
    let queryStride = Self.queryStride(shape)
    lower.update(repeating: 0, count: places.count)
    if !isBounded { upper.update(repeating: Int32(count), count: places.count) }
    var state = attn_decode(
      storage: (elementType ?? tables.elementType).storage, rows: Int32(places.count),
      head_dim: Int32(shape.headDim), value_dim: Int32(shape.valueDim),
      softcap: problem.log16Softcap, queries: queries + places.lowerBound * queryStride,
      query_stride: Int32(queryStride), factor: 1, scores: scores,
      output: output(places.lowerBound, branch), maxima: maxima + first, sums: sums + first,
      biases: biases)
    var chunk = attn_decode_chunk(
      keys: tables.keys, values: tables.values, numbers: numbers, factors: factors, base: 0,
      first: 0, count: Int32(count), available: Int32(count), prefetch_distance: 8, lower: lower,
      upper: upper)
    functions.pointee.decode(&state, &chunk)
  }

  /// Stores the output and the LSE of a place.
  func store(
    _ place: Int, _ batch: Int, _ head: Int, _ queryRow: Int, _ operands: AttentionOperands
  ) {
    var state = state(place)
    if let sinks = problem.scoring.sinkLogits {
      _ = state.add(sink: sinks[head] * Float.log16e)
    }
    let out = output(place)
    for column in 0..<problem.shape.valueDim { out[column] *= state.factor }
    write(out, batch, head, queryRow, operands)
    operands.logSumExp?.row(batch, head, queryRow)[0] = state.naturalLogSumExp
  }

  /// Stores NaN in a row for which a NaN decides what it sees.
  func storeNaN(_ batch: Int, _ head: Int, _ queryRow: Int, _ operands: AttentionOperands) {
    row.update(repeating: .nan, count: problem.shape.valueDim)
    write(row, batch, head, queryRow, operands)
    operands.logSumExp?.row(batch, head, queryRow)[0] = .nan
  }

  /// Stores a row of output that is in fp32.
  func write(
    _ out: UnsafePointer<Float>, _ batch: Int, _ head: Int, _ queryRow: Int,
    _ operands: AttentionOperands
  ) {
    var source = out
    var target = operands.output.rowAddress(batch, head, queryRow)
    functions.pointee.narrow(
      &source, 1, Int32(problem.shape.valueDim), problem.storage.output.storage, &target)
  }
}
