import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// One worker's memory: the panels of a task with their softmax state, the weights of a block,
/// and the tables of row pointers the kernels read.
final class PanelScratch: @unchecked Sendable {
  /// In what products are taken.
  let arithmetic: Arithmetic
  /// What makes pairs of rows; nil where a word is one number.
  let pairs: UnsafePointer<attn_pair_rows>?
  let scale: ScoreScale
  private let lanes: Int
  private let headDim: Int
  private let valueDim: Int
  /// The bound of the scores in log16 units; 0 for none.
  private let softcap: Float
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
  /// `[ATTN_BLOCK_KEYS / 2]` rows of paired values.
  let pairRows: RowPointers

  /// `[ATTN_BLOCK_PIECES]` pieces of the block in work.
  let pieces: UnsafeMutablePointer<attn_piece>

  /// What masks, biases and slopes say; nil where there are none.
  let mask: PanelMask?

  /// What later blocks and the end of the task need.
  let prefetches: PrefetchList

  private static func prefetchCapacity(lanes: Int, panels: Int) -> Int {
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
      + 4 * panels * sequences * PanelBounds.size(lanes: lanes, vectorLanes: kernels.vectorLanes)
      + pointer * (3 * lanes + 4 * Int(ATTN_BLOCK_KEYS) + pairRowCount(arithmetic))
      + MemoryLayout<attn_piece>.stride * Int(ATTN_BLOCK_PIECES)
      + PrefetchList.bytes(capacity: prefetchCapacity(lanes: lanes, panels: panels))
  }

  private static func pairRowCount(_ arithmetic: Arithmetic) -> Int {
    arithmetic.grain == 1 ? 0 : Int(ATTN_BLOCK_KEYS) / arithmetic.grain
  }

  /// Words of one panel: queries, output, maxima, sums.
  private static func panelFloats(_ shape: AttentionShape, _ arithmetic: Arithmetic, lanes: Int)
    -> Int
  {
    lanes * (arithmetic.words(shape.headDim) + arithmetic.wholeColumns(shape.valueDim) + 2)
  }

  private static func floatCount(
    _ problem: AttentionProblem, _ arithmetic: Arithmetic, lanes: Int, panels: Int
  ) -> Int {
    let shape = problem.shape
    let copies = problem.storage.rowsAreFloat32 ? 0 : max(shape.headDim, shape.valueDim)
    let keys = Int(ATTN_BLOCK_KEYS)
    let headWords = arithmetic.words(shape.headDim)
    let words =
      arithmetic.grain == 1
      ? 0
      : (keys + lanes) * headWords + keys * arithmetic.words(shape.valueDim)
        + pairRowCount(arithmetic) * arithmetic.wholeColumns(shape.valueDim)
    return panels * panelFloats(shape, arithmetic, lanes: lanes)
      + keys * (lanes + shape.headDim + shape.valueDim) + (2 + copies) * lanes + words
  }

  init(
    _ problem: AttentionProblem, _ visibility: LoweredVisibility, kernels: KernelTable,
    arithmetic: Arithmetic, panels: Int, sequences: Int
  ) throws(AttentionError) {
    let shape = problem.shape
    self.arithmetic = arithmetic
    pairs = arithmetic.grain == 1 ? nil : kernels.functions.pointee.pairs
    scale = ScoreScale(problem.scale, for: arithmetic)
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
    pairRows = .allocate(capacity: PanelScratch.pairRowCount(arithmetic))
    mask = PanelMask(visibility, shape, kernels: kernels, panels: panels)
    pieces = .allocate(capacity: Int(ATTN_BLOCK_PIECES))
    prefetches = PrefetchList(
      capacity: PanelScratch.prefetchCapacity(lanes: lanes, panels: panels))
    let width = 4 * arithmetic.wholeColumns(valueDim)
    for row in 0..<PanelScratch.pairRowCount(arithmetic) {
      pairRows[row] = UnsafeRawPointer(pairedValues + row * width)
    }
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
    pairRows.deallocate()
    pieces.deallocate()
  }

  /// Makes the next block's rows the block's.
  func advance() {
    swap(&keyRows, &nextKeyRows)
    swap(&valueRows, &nextValueRows)
  }

  private var headWords: Int { arithmetic.words(headDim) }
  /// Rows of a panel's accumulator.
  var outputRowCount: Int { arithmetic.wholeColumns(valueDim) }
  private var panelFloats: Int { lanes * (headWords + outputRowCount + 2) }

  // Floats.
  /// `[ATTN_BLOCK_KEYS][L]`, shared by all panels.
  private var weights: UnsafeMutablePointer<Float> { floats.base }
  /// `[L]` factors applied to the output.
  var factors: UnsafeMutablePointer<Float> { floats.base + Int(ATTN_BLOCK_KEYS) * lanes }
  /// `[L]` shares that the output of earlier passes keeps.
  var kept: UnsafeMutablePointer<Float> { factors + lanes }
  /// `[words of d][L]` packed queries of a panel.
  func queries(_ panel: Int) -> UnsafeMutablePointer<Float> {
    kept + lanes + panel * panelFloats
  }
  /// `[outputRowCount][L]` accumulator.
  func output(_ panel: Int) -> UnsafeMutablePointer<Float> { queries(panel) + headWords * lanes }
  /// `[L]` reference exponents.
  func maxima(_ panel: Int) -> UnsafeMutablePointer<Float> {
    output(panel) + outputRowCount * lanes
  }
  /// `[L]` sums of weights.
  func sums(_ panel: Int) -> UnsafeMutablePointer<Float> { maxima(panel) + lanes }

  /// `[ATTN_BLOCK_KEYS][d]` copies of a block's key rows in fp32.
  var keyCopies: UnsafeMutablePointer<Float> { queries(panels) }
  /// `[ATTN_BLOCK_KEYS][dV]` copies of its value rows in fp32.
  var valueCopies: UnsafeMutablePointer<Float> { keyCopies + Int(ATTN_BLOCK_KEYS) * headDim }

  // Rows of words, where a word is not one number.
  /// `[ATTN_BLOCK_KEYS][words of d]`.
  var keyWords: UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(valueCopies + Int(ATTN_BLOCK_KEYS) * valueDim)
  }
  /// `[ATTN_BLOCK_KEYS][words of dV]`.
  var valueWords: UnsafeMutableRawPointer { keyWords + wordBytes(Int(ATTN_BLOCK_KEYS) * headWords) }
  /// `[L][words of d]`.
  var queryWords: UnsafeMutableRawPointer {
    valueWords + wordBytes(Int(ATTN_BLOCK_KEYS) * arithmetic.words(valueDim))
  }
  /// `[ATTN_BLOCK_KEYS / 2][outputRowCount]` words of two keys each.
  private var pairedValues: UnsafeMutableRawPointer { queryWords + wordBytes(lanes * headWords) }

  private func wordBytes(_ words: Int) -> Int { arithmetic.grain == 1 ? 0 : 4 * words }

  /// `[L][d]` and later `[L][dV]`: a panel's query rows and its output rows in fp32, where they are
  /// stored otherwise.
  var rowCopies: UnsafeMutablePointer<Float> {
    let end =
      pairedValues + wordBytes(PanelScratch.pairRowCount(arithmetic) * outputRowCount)
    return end.assumingMemoryBound(to: Float.self)
  }

  /// The kernels' view of a panel with that many vectors of lanes in use.
  func kernelPanel(_ panel: Int, vectors: Int) -> attn_panel {
    attn_panel(
      queries: queries(panel), weights: weights, output: output(panel), maxima: maxima(panel),
      sums: sums(panel), head_words: Int32(headWords), value_dim: Int32(valueDim),
      vectors: Int32(vectors), factor: scale.ofProducts, softcap: softcap)
  }

  /// What the panel's rows see of a sequence.
  func bounds(_ panel: Int, sequence: Int) -> PanelBounds {
    PanelBounds(integers + (panel * sequences + sequence) * boundsSize, lanes: lanes)
  }
}
