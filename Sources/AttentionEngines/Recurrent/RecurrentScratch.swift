import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// One worker's memory for a recurrence, and what it does with a chunk of a head.
///
/// Within a chunk, with S the state before it, kept(t) what is kept of the state up to token t and
/// kept(s, t) what is kept of token s at token t, all elements at most 1 so that nothing overflows:
///
///     A[t][s] = erase_t . kept(s, t) key_s,  s < t     U = value - (kept erase) S - A U
///     P[t][s] = query_t . kept(s, t) key_s, s <= t     O = (kept query) S + P U
///     S = kept S + (kept to the end key)^T U
///
/// U by forward substitution. The factors are products of the tokens' own, never quotients: a decay that
/// resets the state is as exact as any other.
package final class RecurrentScratch {
  /// Where its memory lies.
  struct Layout: Sendable {
    private(set) var arena = ArenaLayout()
    /// `[panels][m][width]`, then sums of the keys and what they lost, `[pieces][2][rowStride]`.
    fileprivate let state: ArenaPart<Float>
    /// `[chunk][rowStride]` each: keys, what they erase along, and queries of a head.
    fileprivate let keys: ArenaPart<Float>
    fileprivate let erases: ArenaPart<Float>
    fileprivate let queries: ArenaPart<Float>
    /// `[chunk][rowStride]`, of which the first column counts where a factor is for all rows: the decay
    /// of each token.
    fileprivate let decays: ArenaPart<Float>
    /// Where a factor is for all rows, `[chunk]`: what is kept from the chunk's begin to a token; where it is
    /// a channel's, `[chunk][rowStride]`: from its block's begin.
    fileprivate let kept: ArenaPart<Float>
    /// Where a decay is a channel's, `[blocks][rowStride]`: what is kept from the chunk's begin to a block's.
    fileprivate let keptBefore: ArenaPart<Float>
    /// `[rowStride]` what is kept over the whole chunk.
    fileprivate let keptOver: ArenaPart<Float>
    /// `[chunk][squareStride]` each: what is kept from one token to another where a factor is for all
    /// rows; A with the other sign; P.
    fileprivate let between: ArenaPart<Float>
    fileprivate let erasing: ArenaPart<Float>
    fileprivate let scores: ArenaPart<Float>
    /// `[panels of keys][rowStride][panelLanes]`; where a decay is a channel's, for each block of a chunk but
    /// the first the keys before it, as far as they are kept up to it.
    fileprivate let transposed: ArenaPart<Float>
    /// Where a decay is a channel's: `[chunk][rowStride]` keys as far as they are kept up to the block in
    /// work, and in the end to the chunk's.
    fileprivate let keptKeys: ArenaPart<Float>
    /// Where a decay is a channel's, vectors of sums of a block's pairs.
    fileprivate let partial: ArenaPart<Float>
    /// `[chunk][valueStride]` each: values, of which U is made; O; and what tokens' own outputs have
    /// besides.
    fileprivate let written: ArenaPart<Float>
    fileprivate let output: ArenaPart<Float>
    fileprivate let additions: ArenaPart<Float>
    /// `[chunk]`.
    fileprivate let denominators: ArenaPart<Float>
    fileprivate let rows: ArenaPart<UnsafeRawPointer>
    fileprivate let outputRows: ArenaPart<UnsafeMutableRawPointer>
    /// Rows of the operands of a head's first token and of the first in work, floats from one token's to the
    /// next's, and of one.
    fileprivate let gateBases: ArenaPart<UnsafePointer<Float>?>
    fileprivate let gates: ArenaPart<UnsafePointer<Float>?>
    fileprivate let gateStrides: ArenaPart<Int>
    fileprivate let gateColumns: ArenaPart<Int>
    /// What the next chunk reads and stores.
    fileprivate let ahead: ArenaPart<attn_ahead>
    fileprivate let stretches: ArenaPart<attn_row_stretch>

    init(_ layout: RecurrentLayout) {
      let chunk = layout.chunk
      let rows = chunk * layout.rowStride
      let square = chunk * layout.squareStride
      let recurrence = layout.recurrence
      state = arena.add(layout.stateCount)
      keys = arena.add(rows)
      erases = arena.add(recurrence.erases ? rows : layout.rowStride)
      queries = arena.add(max(rows, layout.problem.shape.groupSize * layout.rowStride))
      let isPerChannel = recurrence.decay == .perChannel
      decays = arena.add(recurrence.decay == .none ? layout.rowStride : rows)
      kept = arena.add(isPerChannel ? rows : chunk)
      keptBefore = arena.add(isPerChannel ? layout.blocks * layout.rowStride : 0)
      keptOver = arena.add(layout.rowStride)
      between = arena.add(recurrence.decay == .perHead ? square : 0)
      erasing = arena.add(recurrence.erases ? square : 0)
      scores = arena.add(square)
      transposed = arena.add(
        layout.squareStride * layout.rowStride * (isPerChannel ? layout.blocks - 1 : 1))
      keptKeys = arena.add(isPerChannel ? rows : 0)
      partial = arena.add(isPerChannel ? Int(ATTN_DECAYED_VECTORS) * layout.vectorLanes : 0)
      written = arena.add(chunk * layout.valueStride)
      output = arena.add(max(chunk, layout.problem.shape.groupSize) * layout.valueStride)
      additions = arena.add((recurrence.adds ? chunk : 1) * layout.valueStride)
      denominators = arena.add(max(chunk, layout.problem.shape.groupSize))
      self.rows = arena.add(chunk)
      outputRows = arena.add(chunk)
      gateBases = arena.add(layout.operands.count)
      gates = arena.add(layout.operands.count)
      gateStrides = arena.add(layout.operands.count)
      gateColumns = arena.add(layout.operands.count)
      ahead = arena.add(1)
      stretches = arena.add(layout.stretchesAhead)
    }
  }

  let layout: RecurrentLayout
  let shape: AttentionShape
  let recurrence: RecurrenceShape
  /// Of outputs that are not divided.
  let factor: Float
  let strategy: any RecurrentStrategy
  let kernels: KernelTable
  let functions: UnsafePointer<attn_kernels>
  let lanes: Int
  private let arena: Arena
  /// The state of the head in work: this worker's own, or a decoder's.
  var state: UnsafeMutablePointer<Float>
  let ownState: UnsafeMutablePointer<Float>
  let keys: UnsafeMutablePointer<Float>
  let erases: UnsafeMutablePointer<Float>
  let queries: UnsafeMutablePointer<Float>
  let decays: UnsafeMutablePointer<Float>
  let kept: UnsafeMutablePointer<Float>
  let keptBefore: UnsafeMutablePointer<Float>
  let keptOver: UnsafeMutablePointer<Float>
  let between: UnsafeMutablePointer<Float>
  let erasing: UnsafeMutablePointer<Float>
  let scores: UnsafeMutablePointer<Float>
  let transposed: UnsafeMutablePointer<Float>
  let keptKeys: UnsafeMutablePointer<Float>
  let partial: UnsafeMutablePointer<Float>
  let written: UnsafeMutablePointer<Float>
  let output: UnsafeMutablePointer<Float>
  let additions: UnsafeMutablePointer<Float>
  let denominators: UnsafeMutablePointer<Float>
  let rows: RowPointers
  let outputRows: UnsafeMutablePointer<UnsafeMutableRawPointer>
  /// Those of the run in work.
  var gateViews: [TensorView?]
  var givenState: TensorView?
  var finalState: MutableTensorView?
  let gateBases: UnsafeMutablePointer<UnsafePointer<Float>?>
  let gates: UnsafeMutablePointer<UnsafePointer<Float>?>
  let gateStrides: UnsafeMutablePointer<Int>
  let gateColumns: UnsafeMutablePointer<Int>
  let ahead: UnsafeMutablePointer<attn_ahead>
  let stretches: UnsafeMutablePointer<attn_row_stretch>

  /// - Parameter strategy: prepared for the layout's problem.
  init(
    _ layout: RecurrentLayout, _ strategy: any RecurrentStrategy, kernels: KernelTable
  ) throws(AttentionError) {
    let parts = Layout(layout)
    self.layout = layout
    shape = layout.problem.shape
    recurrence = layout.recurrence
    factor = layout.recurrence.normalises ? 1 : layout.problem.outputScale
    gateViews = Array(repeating: nil, count: layout.operands.count)
    self.strategy = strategy
    self.kernels = kernels
    functions = kernels.functions
    lanes = kernels.panelLanes
    arena = try Arena(parts.arena)
    ownState = arena[parts.state]
    state = ownState
    keys = arena[parts.keys]
    erases = arena[parts.erases]
    queries = arena[parts.queries]
    decays = arena[parts.decays]
    kept = arena[parts.kept]
    keptBefore = arena[parts.keptBefore]
    keptOver = arena[parts.keptOver]
    between = arena[parts.between]
    erasing = arena[parts.erasing]
    scores = arena[parts.scores]
    transposed = arena[parts.transposed]
    keptKeys = arena[parts.keptKeys]
    partial = arena[parts.partial]
    written = arena[parts.written]
    output = arena[parts.output]
    additions = arena[parts.additions]
    denominators = arena[parts.denominators]
    rows = arena[parts.rows]
    outputRows = arena[parts.outputRows]
    gateBases = arena[parts.gateBases]
    gates = arena[parts.gates]
    gateStrides = arena[parts.gateStrides]
    gateColumns = arena[parts.gateColumns]
    ahead = arena[parts.ahead]
    stretches = arena[parts.stretches]
    ahead.pointee.stretches = UnsafePointer(stretches)
    for column in 0..<layout.rowStride { keptOver[column] = 1 }
  }

  /// A head of a sequence, and the piece of its values in work.
  struct Head {
    let batch: Int
    let kvHead: Int
    let piece: Int
    let panels: Range<Int>

    init(_ batch: Int, _ kvHead: Int, piece: Int, _ layout: RecurrentLayout) {
      (self.batch, self.kvHead, self.piece) = (batch, kvHead, piece)
      panels = layout.panels(of: piece)
    }
  }

  /// `[m][width]` of the state.
  func statePanel(_ panel: Int) -> UnsafeMutablePointer<Float> {
    state + panel * layout.stateRows * layout.width
  }
}
