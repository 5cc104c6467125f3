import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// One worker's memory for the splits of a few query rows.
final class DecodeScratch {
  /// Sizes of the memory and where everything lies in it.
  struct Layout: Sendable {
    private(set) var arena = ArenaLayout()
    fileprivate let queryStride: Int
    fileprivate let row: ArenaPart<Float>
    fileprivate let queries: ArenaPart<Float>
    fileprivate let scores: ArenaPart<Float>
    fileprivate let tables: KeyValueRows.Layout
    fileprivate let numbers: ArenaPart<Int32>
    fileprivate let lower: ArenaPart<Int32>
    fileprivate let upper: ArenaPart<Int32>
    fileprivate let biases: ArenaPart<attn_row_bias>

    /// - Parameter lanes: query rows of a key/value head.
    init(_ problem: AttentionProblem, lanes: Int, splitKeys: Int) {
      let shape = problem.shape
      queryStride = (shape.headDim + 15) & ~15
      row = arena.add(max(queryStride, (shape.valueDim + 15) & ~15))
      queries = arena.add(lanes * queryStride)
      scores = arena.add(lanes * Int(ATTN_DECODE_SCORES))
      // Integers are multiplied as they are, and their scales follow.
      tables = KeyValueRows.Layout(problem, count: splitKeys, isCopied: false, in: &arena)
      numbers = arena.add(splitKeys)
      lower = arena.add(lanes)
      upper = arena.add(lanes)
      biases = arena.add(lanes)
    }
  }

  private let arena: Arena
  /// A row of queries or of output in fp32.
  let row: UnsafeMutablePointer<Float>
  /// `[rows][queryStride]`.
  let queries: UnsafeMutablePointer<Float>
  /// Floats from one packed query to the next.
  let queryStride: Int
  /// `[rows][ATTN_DECODE_SCORES]`.
  let scores: UnsafeMutablePointer<Float>
  /// `[splitKeys]` rows of the keys and values of a split.
  let tables: KeyValueRows
  /// `[splitKeys]` their key numbers.
  let numbers: UnsafeMutablePointer<Int32>
  /// `[rows]` each.
  let lower: UnsafeMutablePointer<Int32>
  let upper: UnsafeMutablePointer<Int32>
  let biases: UnsafeMutablePointer<attn_row_bias>

  init(_ layout: Layout, kernels: KernelTable) throws(AttentionError) {
    arena = try Arena(layout.arena)
    queryStride = layout.queryStride
    row = arena[layout.row]
    queries = arena[layout.queries]
    scores = arena[layout.scores]
    tables = KeyValueRows(layout.tables, arena, kernels.functions)
    numbers = arena[layout.numbers]
    lower = arena[layout.lower]
    upper = arena[layout.upper]
    biases = arena[layout.biases]
  }
}
