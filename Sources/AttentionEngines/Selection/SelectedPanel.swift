import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// A panel of rows in lanes that meets keys as they come: `[d][L]` queries, `[e][L]` output, `[L]` maxima and sums.
struct SelectedPanel {
  private let layout: SelectionLayout
  private let weights: UnsafeMutablePointer<Float>
  let queries: UnsafeMutablePointer<Float>
  let output: UnsafeMutablePointer<Float>
  let maxima: UnsafeMutablePointer<Float>
  let sums: UnsafeMutablePointer<Float>

  /// Floats of a panel.
  static func floats(_ layout: SelectionLayout) -> Int {
    layout.kernels.panelLanes * (layout.problem.shape.headDim + outputRows(layout) + 2)
  }

  /// Rows of the output.
  private static func outputRows(_ layout: SelectionLayout) -> Int {
    layout.problem.shape.valueDim
  }

  /// - Parameter weights: `[ATTN_BLOCK_KEYS][L]`, shared by panels.
  init(
    _ layout: SelectionLayout, at memory: UnsafeMutablePointer<Float>,
    weights: UnsafeMutablePointer<Float>
  ) {
    let lanes = layout.kernels.panelLanes
    self.layout = layout
    self.weights = weights
    queries = memory
    output = queries + layout.problem.shape.headDim * lanes
    maxima = output + Self.outputRows(layout) * lanes
    sums = maxima + lanes
  }

  /// Nothing has been seen.
  func clear() {
    let lanes = layout.kernels.panelLanes
    maxima.update(repeating: -.infinity, count: lanes)
    sums.update(repeating: 0, count: lanes)
    output.update(repeating: 0, count: Self.outputRows(layout) * lanes)
  }

  /// Packs rows of queries.
  func pack(_ rows: RowPointers, count: Int) {
    layout.kernels.functions.pointee.pack(
      rows.floats, Int32(count), Int32(layout.problem.shape.headDim),
      ScoreScale(layout.problem.scale, for: .float32).ofQueries, queries)
  }

  /// Meets the keys at the first places of tables, up to `ATTN_BLOCK_KEYS` of them in fp32.
  ///
  /// - Parameters:
  ///   - rows: lanes in use.
  ///   - first: the key of the first place, where lanes see keys `lower[lane]..<upper[lane]`; nil where all
  ///     lanes see all.
  ///   - prefetch: what will be needed next.
  func meet(
    _ count: Int, rows: Int, _ tables: KeyValueRows, first: Int?,
    lower: UnsafePointer<Int32>, upper: UnsafePointer<Int32>,
    prefetch: UnsafeMutablePointer<attn_prefetch_list>
  ) {
    let (shape, kernels) = (layout.problem.shape, layout.kernels)
    let vectors = Int32((rows + kernels.vectorLanes - 1) / kernels.vectorLanes)
    var piece = attn_piece(
      first: 0, count: Int32(count), first_vector: 0, vectors: vectors,
      masked: first == nil ? 0 : ATTN_BY_BOUNDS)
    var panel = attn_panel(
      queries: queries, weights: weights, output: output, maxima: maxima, sums: sums,
      head_words: Int32(shape.headDim), value_dim: Int32(shape.valueDim), vectors: vectors,
      factor: ScoreScale(layout.problem.scale, for: .float32).ofProducts,
      softcap: layout.problem.log16Softcap, query_scales: nil)
    withUnsafePointer(to: &piece) { piece in
      var block = attn_block(
        keys: tables.keys, values: tables.values, pieces: piece, piece_count: 1,
        first_key: Int32(first ?? 0), lower: lower, upper: upper, prefetch: prefetch, bias: nil,
        key_bias: nil, scales: nil)
      attn_attend(kernels.functions, ATTN_FP32, &panel, &block)
    }
  }
}
