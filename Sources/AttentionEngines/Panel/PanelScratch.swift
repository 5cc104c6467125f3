import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// One worker's memory: the panels of a task with their softmax state, the weights of a block,
/// and the tables of row pointers the kernels read.
final class PanelScratch: @unchecked Sendable {
  private let lanes: Int
  private let headDim: Int
  /// The bound of the scores in log16 units; 0 for none.
  private let softcap: Float
  private let valueDim: Int
  /// Rows of a panel's accumulator.
  let outputRowCount: Int
  /// bf16 operands; nil where products are fp32.
  let products: BFloat16Scratch?
  /// Keys that are visited together at least.
  var grain: Int { products == nil ? 1 : 2 }
  private let boundsSize: Int
  private let panels: Int
  private let sequences: Int
  private let floats: AlignedFloats
  private let integers: UnsafeMutablePointer<Int32>
  /// `[L]` query rows of a panel.
  let inputRows: RowPointers
  /// `[L]` output rows of a panel, where they are fp32.
  let outputRows: UnsafeMutablePointer<UnsafeMutablePointer<Float>>
  /// `[L]` output rows of a panel, where they are not.
  let storedRows: UnsafeMutablePointer<UnsafeMutableRawPointer>
  /// `[ATTN_BLOCK_KEYS]` key and value rows of a block.
  private(set) var keyRows: RowPointers
  private(set) var valueRows: RowPointers
  /// The same of the block after it.
  private(set) var nextKeyRows: RowPointers
  private(set) var nextValueRows: RowPointers

  /// `[ATTN_BLOCK_PIECES]` pieces of the block in work.
  let pieces: UnsafeMutablePointer<attn_piece>

  /// What masks, biases and slopes say; nil where there are none.
  let mask: PanelMask?

  /// What later blocks and the end of the task need.
  let ahead: AheadList

  private static func aheadCapacity(lanes: Int, panels: Int) -> Int {
    2 * Int(ATTN_BLOCK_KEYS) + panels * lanes
  }

  /// Bytes of one worker's scratch.
  static func bytes(
    _ problem: AttentionProblem, kernels: KernelTable, arithmetic: Arithmetic, panels: Int,
    sequences: Int
  ) -> Int {
    let lanes = kernels.panelLanes
    let pointer = MemoryLayout<UnsafeRawPointer>.stride
    return 4 * floatCount(problem, arithmetic, lanes: lanes, panels: panels)
      + (arithmetic == .bfloat16 ? BFloat16Scratch.bytes(problem.shape, lanes: lanes) : 0)
      + 4 * panels * sequences * PanelBounds.size(lanes: lanes, vectorLanes: kernels.vectorLanes)
      + pointer * (3 * lanes + 4 * Int(ATTN_BLOCK_KEYS))
      + MemoryLayout<attn_piece>.stride * Int(ATTN_BLOCK_PIECES)
      + AheadList.bytes(capacity: aheadCapacity(lanes: lanes, panels: panels))
  }

  private static func outputRowCount(_ valueDim: Int, _ arithmetic: Arithmetic) -> Int {
    arithmetic == .bfloat16 ? BFloat16Scratch.outputRows(valueDim) : valueDim
  }

  private static func floatCount(
    _ problem: AttentionProblem, _ arithmetic: Arithmetic, lanes: Int, panels: Int
  ) -> Int {
    let shape = problem.shape
    let copies = problem.storage.rowsAreFloat32 ? 0 : max(shape.headDim, shape.valueDim)
    let outputRows = outputRowCount(shape.valueDim, arithmetic)
    return panels * lanes * (shape.headDim + outputRows + 2)
      + Int(ATTN_BLOCK_KEYS) * (lanes + shape.headDim + shape.valueDim) + (2 + copies) * lanes
  }

  init(
    _ problem: AttentionProblem, map: TileMap?, kernels: KernelTable, arithmetic: Arithmetic,
    panels: Int, sequences: Int
  ) throws(AttentionError) {
    let shape = problem.shape
    products =
      if arithmetic == .bfloat16, let functions = kernels.bf16 {
        try BFloat16Scratch(problem, lanes: kernels.panelLanes, functions: functions)
      } else {
        nil
      }
    outputRowCount = PanelScratch.outputRowCount(shape.valueDim, arithmetic)
    softcap = problem.log16Softcap
    lanes = kernels.panelLanes
    headDim = shape.headDim
    valueDim = shape.valueDim
    self.panels = panels
    self.sequences = sequences
    boundsSize = PanelBounds.size(lanes: lanes, vectorLanes: kernels.vectorLanes)
    floats = try AlignedFloats(
      count: PanelScratch.floatCount(problem, arithmetic, lanes: lanes, panels: panels),
      for: "workspace", touched: true)
    integers = .allocate(capacity: panels * sequences * boundsSize)
    inputRows = .allocate(capacity: lanes)
    outputRows = .allocate(capacity: lanes)
    storedRows = .allocate(capacity: lanes)
    keyRows = .allocate(capacity: Int(ATTN_BLOCK_KEYS))
    valueRows = .allocate(capacity: Int(ATTN_BLOCK_KEYS))
    nextKeyRows = .allocate(capacity: Int(ATTN_BLOCK_KEYS))
    nextValueRows = .allocate(capacity: Int(ATTN_BLOCK_KEYS))
    mask = PanelMask(problem, map: map, kernels: kernels, panels: panels)
    pieces = .allocate(capacity: Int(ATTN_BLOCK_PIECES))
    ahead = AheadList(capacity: PanelScratch.aheadCapacity(lanes: lanes, panels: panels))
  }

  deinit {
    integers.deallocate()
    inputRows.deallocate()
    outputRows.deallocate()
    storedRows.deallocate()
    keyRows.deallocate()
    valueRows.deallocate()
    nextKeyRows.deallocate()
    nextValueRows.deallocate()
    pieces.deallocate()
  }

  /// `[ATTN_BLOCK_KEYS][d]` copies of a block's key rows.
  var keyCopies: UnsafeMutablePointer<Float> { queries(panels) }
  /// `[ATTN_BLOCK_KEYS][dV]` copies of its value rows.
  var valueCopies: UnsafeMutablePointer<Float> { keyCopies + Int(ATTN_BLOCK_KEYS) * headDim }

  /// `[L][d]` and later `[L][dV]`: a panel's query rows and its output rows in fp32, where they are
  /// stored otherwise.
  var rowCopies: UnsafeMutablePointer<Float> {
    valueCopies + Int(ATTN_BLOCK_KEYS) * valueDim
  }

  /// Makes the next block's rows the block's.
  func advance() {
    swap(&keyRows, &nextKeyRows)
    swap(&valueRows, &nextValueRows)
  }

  private var panelFloats: Int { lanes * (headDim + outputRowCount + 2) }
  /// `[ATTN_BLOCK_KEYS][L]`, shared by all panels; after the last block it holds a factor a lane.
  private var weights: UnsafeMutablePointer<Float> { floats.base }
  /// `[L]` factors applied to the output.
  var factors: UnsafeMutablePointer<Float> { floats.base + Int(ATTN_BLOCK_KEYS) * lanes }

  /// `[L]` shares that the output of earlier passes keeps.
  var kept: UnsafeMutablePointer<Float> { factors + lanes }

  /// `[d][L]` packed queries of a panel.
  func queries(_ panel: Int) -> UnsafeMutablePointer<Float> {
    kept + lanes + panel * panelFloats
  }
  /// `[d / 2][L]` the same as pairs of bf16.
  func queryWords(_ panel: Int) -> UnsafeMutablePointer<UInt32> {
    UnsafeMutableRawPointer(queries(panel)).assumingMemoryBound(to: UInt32.self)
  }
  /// `[dV][L]` accumulator.
  func output(_ panel: Int) -> UnsafeMutablePointer<Float> { queries(panel) + headDim * lanes }
  /// `[L]` reference exponents.
  func maxima(_ panel: Int) -> UnsafeMutablePointer<Float> {
    output(panel) + outputRowCount * lanes
  }
  /// `[L]` sums of weights.
  func sums(_ panel: Int) -> UnsafeMutablePointer<Float> { maxima(panel) + lanes }

  /// The kernels' view of a panel with that many vectors of lanes in use.
  func kernelPanel(_ panel: Int, vectors: Int) -> attn_panel {
    attn_panel(
      queries: queries(panel), weights: weights, output: output(panel), maxima: maxima(panel),
      sums: sums(panel), head_dim: Int32(headDim), value_dim: Int32(valueDim),
      vectors: Int32(vectors), softcap: softcap)
  }

  /// The same for bf16 products.
  func kernelPanel(
    _ panel: Int, vectors: Int, _ products: BFloat16Scratch
  ) -> attn_bf16_panel {
    attn_bf16_panel(
      queries: queryWords(panel),
      weights: UnsafeMutableRawPointer(weights).assumingMemoryBound(to: UInt32.self),
      output: output(panel), maxima: maxima(panel), sums: sums(panel),
      head_words: Int32(products.headWords), value_dim: Int32(valueDim),
      vectors: Int32(vectors), factor: products.scale.ofProducts, softcap: softcap)
  }

  /// What the panel's rows see of a sequence.
  func bounds(_ panel: Int, sequence: Int) -> PanelBounds {
    PanelBounds(integers + (panel * sequences + sequence) * boundsSize, lanes: lanes)
  }
}
