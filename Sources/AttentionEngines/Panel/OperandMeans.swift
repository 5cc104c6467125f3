import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// The means that the rows of queries and keys with scales are taken less, of each key/value head: over the
/// queries of its group and the keys in use. They are worked out before anything else of a run.
///
/// A softcap bends scores, so that what the mean key adds to a row's scores cannot be left out until the end:
/// keys keep theirs then.
///
/// Unchecked: a head's means are written by one worker, before any reads them.
struct OperandMeans: ~Copyable, @unchecked Sendable {
  /// Those of one head; nil for 0.
  struct Rows {
    let query: UnsafePointer<Float>?
    /// Times the scale of the scores.
    let scaledQuery: UnsafePointer<Float>?
    let key: UnsafePointer<Float>?
  }

  /// Where they lie.
  struct Layout: Sendable {
    private(set) var arena = ArenaLayout()
    fileprivate let problem: AttentionProblem
    fileprivate let means: ArenaPart<Float>
    /// `[threads][columns]` a row in fp32.
    fileprivate let wide: ArenaPart<Float>
    /// `[threads][SampledMean.scratchCount]`.
    fileprivate let scratch: ArenaPart<Int32>

    init(_ problem: AttentionProblem, arithmetic: Arithmetic, threads: Int) {
      self.problem = problem
      let shape = problem.shape
      let heads = arithmetic.hasRowScales ? shape.batch * shape.kvHeads : 0
      means = arena.add(heads * 3 * shape.headDim)
      wide = arena.add(heads == 0 ? 0 : threads * shape.headDim)
      scratch = arena.add(heads == 0 ? 0 : threads * SampledMean.scratchCount)
    }
  }

  private let layout: Layout
  private let arena: Arena
  private let scale: Float

  init(_ layout: Layout, scale: ScoreScale) throws(AttentionError) {
    self.layout = layout
    self.scale = scale.ofQueries
    arena = try Arena(layout.arena)
  }

  /// Heads to work out; 0 where rows have no scales.
  var heads: Int {
    layout.means.count == 0 ? 0 : layout.problem.shape.batch * layout.problem.shape.kvHeads
  }

  private var columns: Int { layout.problem.shape.headDim }

  private func base(_ batch: Int, _ kvHead: Int) -> UnsafeMutablePointer<Float> {
    arena[layout.means] + (batch * layout.problem.shape.kvHeads + kvHead) * 3 * columns
  }

  /// The means of a head.
  func rows(_ batch: Int, _ kvHead: Int) -> Rows {
    let base = base(batch, kvHead)
    let keepsKeys = layout.problem.scoring.softcap != nil
    return Rows(
      query: UnsafePointer(base), scaledQuery: UnsafePointer(base + columns),
      key: keepsKeys ? nil : UnsafePointer(base + 2 * columns))
  }

  /// Works out the means of a head, counted over batch and key/value heads.
  func measure(_ head: Int, of operands: AttentionOperands, worker: Int) {
    let shape = layout.problem.shape
    let (batch, kvHead) = head.quotientAndRemainder(dividingBy: shape.kvHeads)
    let geometry = layout.problem.geometry(batch: batch)
    let base = base(batch, kvHead)
    let wide = arena[layout.wide] + worker * columns
    let scratch = arena[layout.scratch] + worker * SampledMean.scratchCount
    SampledMean.take(into: base, columns: columns, scratch: scratch) { body in
      for head in kvHead * shape.groupSize..<(kvHead + 1) * shape.groupSize {
        visit(geometry.queryLength, of: operands.query, batch, head, wide, body)
      }
    }
    for column in 0..<columns { base[columns + column] = base[column] * scale }
    SampledMean.take(into: base + 2 * columns, columns: columns, scratch: scratch) { body in
      visit(geometry.keyLength, of: operands.key, batch, kvHead, wide, body)
    }
  }

  /// Calls `body` with those of `count` rows that are looked at, in fp32.
  private func visit(
    _ count: Int, of tensor: TensorView, _ batch: Int, _ head: Int,
    _ wide: UnsafeMutablePointer<Float>, _ body: (UnsafePointer<Float>) -> Void
  ) {
    let format = RowFormat(tensor.elementType, columns: columns)
    for row in SampledMean.rows(of: count) {
      format.load(
        tensor.rowAddress(batch, head, row), scales: tensor.channelScales(batch, head), into: wide)
      body(wide)
    }
  }
}
