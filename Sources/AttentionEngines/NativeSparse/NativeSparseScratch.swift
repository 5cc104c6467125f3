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
    /// `[G]` rows of three branches.
    fileprivate let decoded: DecodedRows.Layout
    /// `[G][meanStride]` queries, zeros behind the last column.
    fileprivate let plain: ArenaPart<Float>
    /// `[G][blocks]` of one row.
    fileprivate let blockScores: ArenaPart<Float>
    /// `[top]` each.
    fileprivate let bestScores: ArenaPart<Float>
    fileprivate let best: ArenaPart<Int32>

    init(_ layout: NativeSparseLayout) {
      let group = layout.problem.shape.groupSize
      decoded = DecodedRows.Layout(
        layout.problem, places: group, branches: NativeSparseScratch.branches, together: group,
        keys: NativeSparseScratch.blockKeys, in: &arena)
      plain = arena.add(group * layout.meanStride)
      blockScores = arena.add(group * layout.blockCount)
      let top = min(layout.shape.top, layout.blockCount)
      bestScores = arena.add(top)
      best = arena.add(top)
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

  private let layout: NativeSparseLayout
  private let parts: Layout
  private let arena: Arena
  private let decoded: DecodedRows
  private let reader: RowReader
  private let functions: UnsafePointer<attn_kernels>

  init(_ layout: NativeSparseLayout) throws(AttentionError) {
    self.layout = layout
    parts = Layout(layout)
    arena = try Arena(parts.arena)
    functions = layout.kernels.functions
    decoded = DecodedRows(layout.problem, parts.decoded, arena, functions)
    reader = RowReader(decoded.tables.keys, copies: decoded.row, count: 1, functions)
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
      reader.average(
        keys, of: operands.key, batch, kvHead, into: means.keys + block * layout.meanStride)
      reader.average(
        keys, of: operands.value, batch, kvHead, into: means.values + block * shape.valueDim)
    }
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
        decoded.tables.keys[index] = UnsafeRawPointer(
          means.keys + (first + index) * layout.meanStride)
        decoded.tables.values[index] = UnsafeRawPointer(
          means.values + (first + index) * shape.valueDim)
      }
      meet(count, .compressed, as: .float32)
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
    for member in 0..<shape.groupSize {
      let query = decoded.query(
        operands.query, place.batch, place.kvHead * shape.groupSize + member, place.row)
      (arena[parts.plain] + member * layout.meanStride).update(from: query, count: shape.headDim)
      decoded.put(query, into: member)
    }
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
      problem.scale * all[member * layout.blockCount + index]
        - decoded.state(member, Branch.compressed.rawValue).naturalLogSumExp
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
      decoded.tables.point(filled, at: part, place.batch, place.kvHead, operands)
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
      decoded.tables.point(at: part, place.batch, place.kvHead, operands)
      meetPointed(part.count, branch, place, operands)
    }
  }

  /// Meets rows of keys and values that the tables point at.
  private func meetPointed(
    _ count: Int, _ branch: Branch, _ place: Place, _ operands: AttentionOperands
  ) {
    if count == 0 { return }
    decoded.tables.bring(count, place.batch, place.kvHead, operands)
    meet(count, branch)
  }

  private func meet(_ count: Int, _ branch: Branch, as elementType: ElementType? = nil) {
    decoded.meet(
      count, places: 0..<shape.groupSize, branch: branch.rawValue, as: elementType)
  }

  /// Adds the branches up, each times its gate. There is no denominator of a row to tell: 0, as of others without
  /// one.
  private func finish(
    _ place: Place, _ row: NativeSparseShape.Row, _ operands: AttentionOperands, gate: TensorView
  ) {
    let (columns, out) = (shape.valueDim, decoded.row)
    for member in 0..<shape.groupSize {
      let head = place.kvHead * shape.groupSize + member
      out.update(repeating: 0, count: columns)
      for branch in 0..<Self.branches where !row.visible.isEmpty {
        let factor =
          decoded.state(member, branch).factor * gate.row(place.batch, head, place.row)[branch]
        let values = decoded.output(member, branch)
        for column in 0..<columns { out[column] += factor * values[column] }
      }
      decoded.write(out, place.batch, head, place.row, operands)
      operands.logSumExp?.row(place.batch, head, place.row)[0] =
        row.visible.isEmpty ? -.infinity : 0
    }
  }
}
