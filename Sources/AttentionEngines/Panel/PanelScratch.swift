import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// One worker's memory: the panels of a task with their softmax state, the weights of a block,
/// and the tables of row pointers the kernels read.
final class PanelScratch {
  /// Sizes of the memory and where everything lies in it.
  struct Layout: Sendable {
    private(set) var arena = ArenaLayout()
    fileprivate let problem: AttentionProblem
    fileprivate let kernels: KernelTable
    fileprivate let arithmetic: Arithmetic
    fileprivate let format: OperandFormat
    fileprivate let sequences: Int
    fileprivate let boundsSize: Int
    fileprivate let headWords: Int
    /// Rows of a panel's packed queries.
    fileprivate let queryRowCount: Int
    fileprivate let outputRowCount: Int
    fileprivate let panelFloats: Int
    fileprivate let mask: PanelMask.Layout?
    fileprivate let prefetches: PrefetchList.Layout
    fileprivate let weights: ArenaPart<Float>
    fileprivate let factors: ArenaPart<Float>
    fileprivate let kept: ArenaPart<Float>
    fileprivate let panels: ArenaPart<Float>
    fileprivate let keyCopies: ArenaPart<Float>
    fileprivate let valueCopies: ArenaPart<Float>
    fileprivate let keyWords: ArenaPart<UInt32>
    fileprivate let valueWords: ArenaPart<UInt32>
    fileprivate let queryWords: ArenaPart<UInt32>
    fileprivate let groupedValues: ArenaPart<UInt32>
    fileprivate let scales: ArenaPart<attn_key_scales>
    fileprivate let rowCopies: ArenaPart<Float>
    fileprivate let bounds: ArenaPart<Int32>
    fileprivate let inputRows: ArenaPart<UnsafeRawPointer>
    fileprivate let outputRows: ArenaPart<UnsafeMutablePointer<Float>>
    fileprivate let storedRows: ArenaPart<UnsafeMutableRawPointer>
    fileprivate let keyRows: ArenaPart<UnsafeRawPointer>
    fileprivate let valueRows: ArenaPart<UnsafeRawPointer>
    fileprivate let nextKeyRows: ArenaPart<UnsafeRawPointer>
    fileprivate let nextValueRows: ArenaPart<UnsafeRawPointer>
    fileprivate let groupRows: ArenaPart<UnsafeRawPointer>
    fileprivate let pieces: ArenaPart<attn_piece>

    /// - Parameters:
    ///   - additive: what panels and keys hold for additive scores; nil for products.
    ///   - panels: most panels of a task.
    ///   - sequences: most key sequences of a pass.
    init(
      _ problem: AttentionProblem, _ visibility: LoweredVisibility, kernels: KernelTable,
      arithmetic: Arithmetic, additive: AdditiveUnits?, panels: Int, sequences: Int
    ) {
      let (shape, lanes, keys) = (problem.shape, kernels.panelLanes, Int(ATTN_BLOCK_KEYS))
      self.problem = problem
      self.kernels = kernels
      self.arithmetic = arithmetic
      format = OperandFormat(arithmetic, in: kernels)
      self.sequences = sequences
      boundsSize = PanelBounds.size(lanes: lanes, vectorLanes: kernels.vectorLanes)
      headWords = additive?.whole ?? format.words(shape.headDim)
      queryRowCount = additive?.queryRows ?? headWords
      outputRowCount = format.wholeColumns(shape.valueDim)
      // Queries, output, maxima, sums; scales and shifts of queries where rows have scales.
      panelFloats =
        lanes * (queryRowCount + outputRowCount + (arithmetic.hasRowScales ? 4 : 2))
      weights = arena.add(keys * lanes)
      factors = arena.add(lanes)
      kept = arena.add(lanes)
      self.panels = arena.add(panels * panelFloats)
      keyCopies = arena.add(keys * (additive?.keyColumns ?? shape.headDim))
      valueCopies = arena.add(keys * shape.valueDim)
      // Rows of words, where a word is not one number.
      let hasWords = !format.isFloat32
      let groups = hasWords ? keys / format.wordKeys : 0
      keyWords = arena.add(hasWords ? keys * headWords : 0)
      valueWords = arena.add(format.pairs == nil ? 0 : keys * format.words(shape.valueDim))
      queryWords = arena.add(hasWords ? lanes * headWords : 0)
      groupedValues = arena.add(groups * outputRowCount)
      scales = arena.add(arithmetic.hasRowScales ? 1 : 0)
      rowCopies = arena.add(
        problem.storage.rowsAreFloat32 ? 0 : lanes * max(shape.headDim, shape.valueDim))
      bounds = arena.add(panels * sequences * boundsSize)
      inputRows = arena.add(lanes)
      outputRows = arena.add(lanes)
      storedRows = arena.add(lanes)
      keyRows = arena.add(keys)
      valueRows = arena.add(keys)
      nextKeyRows = arena.add(keys)
      nextValueRows = arena.add(keys)
      groupRows = arena.add(groups)
      pieces = arena.add(Int(ATTN_BLOCK_PIECES))
      prefetches = PrefetchList.Layout(capacity: 2 * keys + panels * lanes, in: &arena)
      mask = PanelMask.Layout(visibility, shape, kernels: kernels, panels: panels, in: &arena)
    }
  }

  /// How operands are multiplied.
  let format: OperandFormat
  let scale: ScoreScale
  private let layout: Layout
  private let arena: Arena
  private let lanes: Int
  /// The bound of the scores in log16 units; 0 for none.
  private let softcap: Float
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
  /// `[ATTN_BLOCK_KEYS / keys of a word]` rows of values, where a word holds those of several keys.
  let groupRows: RowPointers
  /// What goes with the block's keys where rows have scales.
  let scales: UnsafeMutablePointer<attn_key_scales>
  /// `[ATTN_BLOCK_PIECES]` pieces of the block in work.
  let pieces: UnsafeMutablePointer<attn_piece>
  /// `[ATTN_BLOCK_KEYS][L]`, shared by all panels.
  private let weights: UnsafeMutablePointer<Float>
  /// `[L]` factors applied to the output.
  let factors: UnsafeMutablePointer<Float>
  /// `[L]` shares that the output of earlier passes keeps.
  let kept: UnsafeMutablePointer<Float>
  private let panels: UnsafeMutablePointer<Float>
  /// `[ATTN_BLOCK_KEYS][d]` copies of a block's key rows in fp32, or what additive scores have instead.
  let keyCopies: UnsafeMutablePointer<Float>
  /// `[ATTN_BLOCK_KEYS][dV]` copies of its value rows in fp32.
  let valueCopies: UnsafeMutablePointer<Float>
  /// `[ATTN_BLOCK_KEYS][words of d]`.
  let keyWords: UnsafeMutableRawPointer
  /// `[ATTN_BLOCK_KEYS][words of dV]`.
  let valueWords: UnsafeMutableRawPointer
  /// `[L][words of d]`.
  let queryWords: UnsafeMutableRawPointer
  /// `[L][d]` and later `[L][dV]`: a panel's query rows and its output rows in fp32, where they are
  /// stored otherwise.
  let rowCopies: UnsafeMutablePointer<Float>
  private let integers: UnsafeMutablePointer<Int32>
  /// What masks, biases and slopes say; nil where there are none.
  let mask: PanelMask?
  /// What later blocks and the end of the task need.
  var prefetches: PrefetchList

  init(_ layout: Layout, _ visibility: LoweredVisibility) throws(AttentionError) {
    let problem = layout.problem
    self.layout = layout
    format = layout.format
    scale = ScoreScale(problem.scale, for: layout.arithmetic)
    softcap = problem.log16Softcap
    lanes = layout.kernels.panelLanes
    arena = try Arena(layout.arena)
    inputRows = arena[layout.inputRows]
    outputRows = arena[layout.outputRows]
    storedRows = arena[layout.storedRows]
    keyRows = arena[layout.keyRows]
    valueRows = arena[layout.valueRows]
    nextKeyRows = arena[layout.nextKeyRows]
    nextValueRows = arena[layout.nextValueRows]
    groupRows = arena[layout.groupRows]
    scales = arena[layout.scales]
    pieces = arena[layout.pieces]
    weights = arena[layout.weights]
    factors = arena[layout.factors]
    kept = arena[layout.kept]
    panels = arena[layout.panels]
    keyCopies = arena[layout.keyCopies]
    valueCopies = arena[layout.valueCopies]
    keyWords = UnsafeMutableRawPointer(arena[layout.keyWords])
    valueWords = UnsafeMutableRawPointer(arena[layout.valueWords])
    queryWords = UnsafeMutableRawPointer(arena[layout.queryWords])
    rowCopies = arena[layout.rowCopies]
    integers = arena[layout.bounds]
    mask = if let mask = layout.mask { PanelMask(visibility, mask, arena) } else { nil }
    prefetches = PrefetchList(layout.prefetches, arena)
    // `[ATTN_BLOCK_KEYS / keys of a word][outputRowCount]`.
    let groupedValues = arena[layout.groupedValues]
    for row in 0..<layout.groupRows.count {
      groupRows[row] = UnsafeRawPointer(groupedValues + row * outputRowCount)
    }
  }

  /// Makes the next block's rows the block's.
  func advance() {
    swap(&keyRows, &nextKeyRows)
    swap(&valueRows, &nextValueRows)
  }

  /// Rows of a panel's accumulator.
  var outputRowCount: Int { layout.outputRowCount }

  /// `[words of d][L]` packed queries of a panel, or what additive scores have instead.
  func queries(_ panel: Int) -> UnsafeMutablePointer<Float> {
    panels + panel * layout.panelFloats
  }
  /// `[outputRowCount][L]` accumulator.
  func output(_ panel: Int) -> UnsafeMutablePointer<Float> {
    queries(panel) + layout.queryRowCount * lanes
  }
  /// `[L]` reference exponents.
  func maxima(_ panel: Int) -> UnsafeMutablePointer<Float> {
    output(panel) + outputRowCount * lanes
  }
  /// `[L]` sums of weights.
  func sums(_ panel: Int) -> UnsafeMutablePointer<Float> { maxima(panel) + lanes }

  /// `[L]` scales of a panel's queries, where rows have scales.
  func queryScales(_ panel: Int) -> UnsafeMutablePointer<Float> { sums(panel) + lanes }
  /// `[L]` what the scores of a row lack of their products with the mean key.
  func queryShifts(_ panel: Int) -> UnsafeMutablePointer<Float> { queryScales(panel) + lanes }

  /// The kernels' view of a panel with that many vectors of lanes in use.
  func kernelPanel(_ panel: Int, vectors: Int) -> attn_panel {
    attn_panel(
      queries: queries(panel), weights: weights, output: output(panel), maxima: maxima(panel),
      sums: sums(panel), head_words: Int32(layout.headWords),
      value_dim: Int32(layout.problem.shape.valueDim), vectors: Int32(vectors),
      factor: scale.ofProducts, softcap: softcap,
      query_scales: format.scaled == nil ? nil : queryScales(panel))
  }

  /// What the panel's rows see of a sequence.
  func bounds(_ panel: Int, sequence: Int) -> PanelBounds {
    PanelBounds(
      integers + (panel * layout.sequences + sequence) * layout.boundsSize, lanes: lanes)
  }
}
