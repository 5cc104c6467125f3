import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// A panel of rows in lanes that meets keys as they come: `[d][L]` queries, `[e][L]` output, `[L]` maxima and sums.
struct SelectedPanel {
  private let problem: AttentionProblem
  private let kernels: KernelTable
  private let weights: UnsafeMutablePointer<Float>
  let queries: UnsafeMutablePointer<Float>
  let output: UnsafeMutablePointer<Float>
  let maxima: UnsafeMutablePointer<Float>
  let sums: UnsafeMutablePointer<Float>

  /// Floats of a panel.
  static func floats(_ problem: AttentionProblem, _ kernels: KernelTable) -> Int {
    kernels.panelLanes * (problem.shape.headDim + problem.shape.valueDim + 2)
  }

  /// - Parameter weights: `[ATTN_BLOCK_KEYS][L]`, shared by panels.
  init(
    _ problem: AttentionProblem, _ kernels: KernelTable, at memory: UnsafeMutablePointer<Float>,
    weights: UnsafeMutablePointer<Float>
  ) {
    let lanes = kernels.panelLanes
    self.problem = problem
    self.kernels = kernels
    self.weights = weights
    queries = memory
    output = queries + problem.shape.headDim * lanes
    maxima = output + problem.shape.valueDim * lanes
    sums = maxima + lanes
  }

  /// Nothing has been seen.
  func clear() {
    let lanes = kernels.panelLanes
    maxima.update(repeating: -.infinity, count: lanes)
    sums.update(repeating: 0, count: lanes)
    output.update(repeating: 0, count: problem.shape.valueDim * lanes)
  }

  /// Packs rows of queries.
  func pack(_ rows: RowPointers, count: Int) {
    kernels.functions.pointee.pack(
      rows.floats, Int32(count), Int32(problem.shape.headDim),
      ScoreScale(problem.scale, for: .float32).ofQueries, queries)
  }

  /// Meets the keys at the first places of tables, up to `ATTN_BLOCK_KEYS` of them in fp32.
  ///
  /// - Parameters:
  ///   - rows: lanes in use.
  ///   - first: the key of the first place, where lanes see keys `lower[lane]..<upper[lane]`; nil where all
  ///     lanes see all.
  ///   - prefetch: what will be needed next, if that is known.
  func meet(
    _ count: Int, rows: Int, _ tables: KeyValueRows, first: Int?,
    lower: UnsafePointer<Int32>, upper: UnsafePointer<Int32>,
    prefetch: UnsafeMutablePointer<attn_prefetch_list>?
  ) {
    let shape = problem.shape
    let vectors = Int32((rows + kernels.vectorLanes - 1) / kernels.vectorLanes)
    var piece = attn_piece(
      first: 0, count: Int32(count), first_vector: 0, vectors: vectors,
      masked: first == nil ? 0 : ATTN_BY_BOUNDS)
    var panel = attn_panel(
      queries: queries, weights: weights, output: output, maxima: maxima, sums: sums,
      head_words: Int32(shape.headDim), value_dim: Int32(shape.valueDim), vectors: vectors,
      factor: ScoreScale(problem.scale, for: .float32).ofProducts,
      softcap: problem.log16Softcap, query_scales: nil)
    withUnsafePointer(to: &piece) { piece in
      var block = attn_block(
        keys: tables.keys, values: tables.values, pieces: piece, piece_count: 1,
        first_key: Int32(first ?? 0), lower: lower, upper: upper, prefetch: prefetch, bias: nil,
        key_bias: nil, scales: nil)
      attn_attend(kernels.functions, ATTN_FP32, &panel, &block)
    }
  }
}
