import AttentionContract
import AttentionKernels
import CAttentionKernels
import RealModule
import Tensors

/// One worker's memory for native sparse attention, and what it does with a row of a group of heads.
final class NativeSparseScratch {
  /// Where its memory lies. G is the number of heads of a group.
  struct Layout: Sendable {
    private(set) var arena = ArenaLayout()
    /// `[max(d, dV)]` a row as fp32.
    fileprivate let row: ArenaPart<Float>
    /// `[G][meanStride]` queries, and `[G][queryStride]` as the kernel for a few rows wants them.
    fileprivate let plain: ArenaPart<Float>
    fileprivate let queries: ArenaPart<Float>
    fileprivate let scores: ArenaPart<Float>
    /// `[3][G][dV]`, and `[3][G]` each: a softmax a branch.
    fileprivate let output: ArenaPart<Float>
    fileprivate let maxima: ArenaPart<Float>
    fileprivate let sums: ArenaPart<Float>
    /// `[G][blocks]` of one row.
    fileprivate let blockScores: ArenaPart<Float>
    /// `[top]` each.
    fileprivate let bestScores: ArenaPart<Float>
    fileprivate let best: ArenaPart<Int32>
    /// `[ATTN_BLOCK_KEYS]` each, and where rows are 8-bit integers their copies as fp32.
    fileprivate let keyRows: ArenaPart<UnsafeRawPointer>
    fileprivate let valueRows: ArenaPart<UnsafeRawPointer>
    fileprivate let keyCopies: ArenaPart<Float>
    fileprivate let valueCopies: ArenaPart<Float>
    /// `[G]` each.
    fileprivate let lower: ArenaPart<Int32>
    fileprivate let upper: ArenaPart<Int32>

    init(_ layout: NativeSparseLayout) {
      let shape = layout.problem.shape
      let (group, keys) = (shape.groupSize, Int(ATTN_BLOCK_KEYS))
      row = arena.add((max(shape.headDim, shape.valueDim) + 15) & ~15)
      plain = arena.add(group * layout.meanStride)
      queries = arena.add(group * NativeSparseScratch.queryStride(shape))
      scores = arena.add(group * Int(ATTN_DECODE_SCORES))
      output = arena.add(NativeSparseScratch.branches * group * shape.valueDim)
      maxima = arena.add(NativeSparseScratch.branches * group)
      sums = arena.add(NativeSparseScratch.branches * group)
      blockScores = arena.add(group * layout.blockCount)
      let top = min(layout.shape.top, layout.blockCount)
      bestScores = arena.add(top)
      best = arena.add(top)
      keyRows = arena.add(keys)
      valueRows = arena.add(keys)
      let copies = layout.problem.storage.keyValue.isFloatingPoint ? 0 : keys
      keyCopies = arena.add(copies * shape.headDim)
      valueCopies = arena.add(copies * shape.valueDim)
      lower = arena.add(group)
      upper = arena.add(group)
    }
  }

  /// The means of a head's blocks: `[blocks][meanStride]` and `[blocks][dV]`.
  struct Means {
    let keys: UnsafeMutablePointer<Float>
    let values: UnsafeMutablePointer<Float>
  }

  /// A query row of a group of heads.
  struct Place {
    let batch: Int
    let kvHead: Int
    let row: Int
  }

  private enum Branch: Int {
    case compressed
    case selected
    case window
  }

  private static let branches = 3
  private static let blockKeys = Int(ATTN_BLOCK_KEYS)

  private static func queryStride(_ shape: AttentionShape) -> Int { (shape.headDim + 15) & ~15 }

  private let layout: NativeSparseLayout
  private let parts: Layout
  private let arena: Arena
  private let functions: UnsafePointer<attn_kernels>

  init(_ layout: NativeSparseLayout) throws(AttentionError) {
    self.layout = layout
    parts = Layout(layout)
    arena = try Arena(parts.arena)
    functions = layout.kernels.functions
  }

  private var problem: AttentionProblem { layout.problem }
  private var shape: AttentionShape { layout.problem.shape }

  // MARK: Compressing

  /// The means of keys and values of all blocks in use.
  func average(
    _ operands: AttentionOperands, _ geometry: MaskGeometry, _ batch: Int, _ kvHead: Int,
    into means: Means
  ) {
    for block in 0..<layout.shape.blockCount(geometry.keyLength) {
      let keys = layout.shape.keys(of: block, keyLength: geometry.keyLength)
      average(
        operands.key, keys, batch, kvHead, into: means.keys + block * layout.meanStride,
        stride: layout.meanStride)
      average(
        operands.value, keys, batch, kvHead, into: means.values + block * shape.valueDim,
        stride: shape.valueDim)
    }
  }

  /// Sums rows in fp32 and divides by their number.
  private func average(
    _ tensor: TensorView, _ rows: Range<Int>, _ batch: Int, _ head: Int,
    into out: UnsafeMutablePointer<Float>, stride: Int
  ) {
    let (row, columns) = (arena[parts.row], tensor.shape.columns)
    out.update(repeating: 0, count: stride)
    for place in rows {
      tensor.widen(place..<place + 1, batch, head, into: row, functions)
      for column in 0..<columns { out[column] += row[column] }
    }
    functions.pointee.scale_row(out, Int64(columns), 1 / Float(rows.count))
  }

  // MARK: Attending

  /// A row of all heads of a group.
  func attend(
    _ place: Place, _ geometry: MaskGeometry, _ operands: AttentionOperands, gate: TensorView,
    means: Means
  ) {
    let row = layout.shape.row(at: place.row + geometry.offset, under: geometry)
    begin(place, operands)
    for first in stride(from: 0, to: row.ended.count, by: Self.blockKeys) {
      let count = min(Self.blockKeys, row.ended.count - first)
      for index in 0..<count {
        arena[parts.keyRows][index] = UnsafeRawPointer(
          means.keys + (first + index) * layout.meanStride)
        arena[parts.valueRows][index] = UnsafeRawPointer(
          means.values + (first + index) * shape.valueDim)
      }
      meet(count, .compressed, storage: .float32)
    }
    meet(row.window, .window, place, operands)
    var filled = 0
    func take(_ block: Int) {
      let keys = layout.shape.keys(of: block, keyLength: geometry.keyLength)
        .clamped(to: row.visible)
      add(keys, to: &filled, place, operands)
    }
    for block in row.leading { take(block) }
    for block in select(row, means) { take(Int(block)) }
    for block in row.local { take(block) }
    flush(&filled, place, operands)
    finish(place, row, operands, gate: gate)
  }

  /// Reads the queries; nothing has been seen.
  private func begin(_ place: Place, _ operands: AttentionOperands) {
    let group = shape.groupSize
    for member in 0..<group {
      let plain = arena[parts.plain] + member * layout.meanStride
      plain.update(repeating: 0, count: layout.meanStride)
      operands.query.widen(
        place.row..<place.row + 1, place.batch, place.kvHead * group + member, into: plain,
        functions)
      functions.pointee.decode_query(
        plain, Int32(shape.headDim), problem.scale * .log16e, nil,
        arena[parts.queries] + member * Self.queryStride(shape))
    }
    let softmaxes = Self.branches * group
    arena[parts.output].update(repeating: 0, count: softmaxes * shape.valueDim)
    arena[parts.maxima].update(repeating: -.infinity, count: softmaxes)
    arena[parts.sums].update(repeating: 0, count: softmaxes)
  }

  /// The best of the blocks that compete, rising: by the sum over the heads of the group of the weights that the
  /// compressed branch gives them. Its logarithm is compared, so that weights near nothing have an order too.
  private func select(
    _ row: NativeSparseShape.Row, _ means: Means
  ) -> UnsafeBufferPointer<Int32> {
    var kept = BestBlocks(
      limit: row.limit, scores: arena[parts.bestScores], blocks: arena[parts.best])
    if row.limit == 0 { return kept.sorted() }
    let (group, all) = (shape.groupSize, arena[parts.blockScores])
    func offer(_ blocks: Range<Int>) {
      if blocks.isEmpty { return }
      for member in 0..<group {
        functions.pointee.dot_rows(
          means.keys + blocks.lowerBound * layout.meanStride, Int64(layout.meanStride),
          Int32(blocks.count), Int32(layout.meanStride),
          arena[parts.plain] + member * layout.meanStride, all + member * layout.blockCount)
      }
      for (index, block) in blocks.enumerated() { kept.offer(sum(of: index), block) }
    }
    offer(row.before)
    offer(row.after)
    return kept.sorted()
  }

  /// The logarithm of a block's weights, summed over the heads; NaN where one is.
  private func sum(of index: Int) -> Float {
    let (group, all) = (shape.groupSize, arena[parts.blockScores])
    func logarithm(_ member: Int) -> Float {
      let state = SoftmaxState(
        maximum: arena[parts.maxima][member], sum: arena[parts.sums][member])
      return problem.scale * all[member * layout.blockCount + index] - state.naturalLogSumExp
    }
    // One head's denominator is the same for all of its blocks.
    if group == 1 { return problem.scale * all[index] }
    var largest = -Float.infinity
    for member in 0..<group {
      let value = logarithm(member)
      if value.isNaN { return value }
      largest = max(largest, value)
    }
    if largest == -.infinity { return largest }
    var sum: Float = 0
    for member in 0..<group { sum += Float.exp(logarithm(member) - largest) }
    return largest + Float.log(sum)
  }

  // MARK: Keys as they come

  /// Puts keys to those that are met together, and meets them whenever there are enough.
  private func add(
    _ keys: Range<Int>, to filled: inout Int, _ place: Place, _ operands: AttentionOperands
  ) {
    var keys = keys
    while !keys.isEmpty {
      let part = keys.lowerBound..<min(keys.lowerBound + Self.blockKeys - filled, keys.upperBound)
      point(filled, at: part, place, operands)
      filled += part.count
      keys = part.upperBound..<keys.upperBound
      if filled == Self.blockKeys { flush(&filled, place, operands) }
    }
  }

  private func flush(_ filled: inout Int, _ place: Place, _ operands: AttentionOperands) {
    meetPointed(filled, .selected, place, operands)
    filled = 0
  }

  private func meet(
    _ keys: Range<Int>, _ branch: Branch, _ place: Place, _ operands: AttentionOperands
  ) {
    for first in stride(from: keys.lowerBound, to: keys.upperBound, by: Self.blockKeys) {
      let part = first..<min(first + Self.blockKeys, keys.upperBound)
      point(0, at: part, place, operands)
      meetPointed(part.count, branch, place, operands)
    }
  }

  private func point(
    _ at: Int, at keys: Range<Int>, _ place: Place, _ operands: AttentionOperands
  ) {
    let sequence = KeySequence(keys)
    DecodeScratch.point(
      arena[parts.keyRows] + at, at: 0..<keys.count, of: sequence, in: operands.key,
      batch: place.batch, head: place.kvHead)
    DecodeScratch.point(
      arena[parts.valueRows] + at, at: 0..<keys.count, of: sequence, in: operands.value,
      batch: place.batch, head: place.kvHead)
  }

  /// Meets rows of keys and values that the tables point at.
  private func meetPointed(
    _ count: Int, _ branch: Branch, _ place: Place, _ operands: AttentionOperands
  ) {
    if count == 0 { return }
    var storage = problem.storage.keyValue
    if !storage.isFloatingPoint {
      arena[parts.keyRows].bring(
        count, of: operands.key, place.batch, place.kvHead, by: arena[parts.keyCopies], functions)
      arena[parts.valueRows].bring(
        count, of: operands.value, place.batch, place.kvHead, by: arena[parts.valueCopies],
        functions)
      storage = .float32
    }
    meet(count, branch, storage: storage)
  }

  private func meet(_ count: Int, _ branch: Branch, storage: ElementType) {
    let group = shape.groupSize
    arena[parts.lower].update(repeating: 0, count: group)
    arena[parts.upper].update(repeating: Int32(count), count: group)
    let first = branch.rawValue * group
    var state = attn_decode(
      storage: storage.storage, rows: Int32(group), head_dim: Int32(shape.headDim),
      value_dim: Int32(shape.valueDim), softcap: 0, queries: arena[parts.queries],
      query_stride: Int32(Self.queryStride(shape)), factor: 1, scores: arena[parts.scores],
      output: arena[parts.output] + first * shape.valueDim, maxima: arena[parts.maxima] + first,
      sums: arena[parts.sums] + first, biases: nil)
    var chunk = attn_decode_chunk(
      keys: arena[parts.keyRows], values: arena[parts.valueRows], numbers: nil, factors: nil,
      base: 0, first: 0,
      count: Int32(count), available: Int32(count), prefetch_distance: 8,
      lower: arena[parts.lower], upper: arena[parts.upper])
    functions.pointee.decode(&state, &chunk)
  }

  /// Adds the branches up, each times its gate. There is no denominator of a row to tell: 0, as of others without
  /// one.
  private func finish(
    _ place: Place, _ row: NativeSparseShape.Row, _ operands: AttentionOperands, gate: TensorView
  ) {
    let (group, columns, out) = (shape.groupSize, shape.valueDim, arena[parts.row])
    for member in 0..<group {
      let head = place.kvHead * group + member
      out.update(repeating: 0, count: columns)
      for branch in 0..<Self.branches where !row.visible.isEmpty {
        let index = branch * group + member
        let state = SoftmaxState(
          maximum: arena[parts.maxima][index], sum: arena[parts.sums][index])
        let factor = state.factor * gate.row(place.batch, head, place.row)[branch]
        let values = arena[parts.output] + index * columns
        for column in 0..<columns { out[column] += factor * values[column] }
      }
      var source = UnsafePointer(out)
      var target = operands.output.rowAddress(place.batch, head, place.row)
      functions.pointee.narrow(
        &source, 1, Int32(columns), problem.storage.output.storage, &target)
      operands.logSumExp?.row(place.batch, head, place.row)[0] =
        row.visible.isEmpty ? -.infinity : 0
    }
  }
}
