import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// Sizes of a selection and of the attention to what it keeps, worked out without allocating.
struct SelectionLayout: Sendable {
  let problem: AttentionProblem
  let selection: BlockSelection
  let kernels: KernelTable
  let threads: Int
  /// `[b]`.
  let geometries: [MaskGeometry]
  /// d rounded up to whole vectors: from one mean to the next.
  let meanStride: Int
  /// Blocks of the longest sequence.
  let blockCount: Int
  /// Vectors of lanes of a panel: panels of a group are alike, so that none is nearly empty.
  let panelVectors: Int
  /// Panels of a group.
  let panels: Int
  /// What workers share: the means of all blocks, `[b * hKV][blocks][meanStride]`.
  private(set) var shared = ArenaLayout()
  let means: ArenaPart<Float>

  init(
    _ problem: AttentionProblem, _ selection: BlockSelection, threads: Int, kernels: KernelTable
  ) {
    let shape = problem.shape
    self.problem = problem
    self.selection = selection
    self.kernels = kernels
    self.threads = threads
    geometries = (0..<shape.batch).map { problem.geometry(batch: $0) }
    let lanes = kernels.vectorLanes
    meanStride = (shape.headDim + lanes - 1) / lanes * lanes
    blockCount = selection.blockCount(shape.keyLength)
    let vectors = (min(selection.rows, shape.queryLength) + lanes - 1) / lanes
    let most = kernels.panelLanes / lanes
    panels = (vectors + most - 1) / most
    panelVectors = (vectors + panels - 1) / panels
    means = shared.add(shape.batch * shape.kvHeads * blockCount * meanStride)
  }

  /// Query rows of a panel.
  var panelRows: Int { panelVectors * kernels.vectorLanes }

  /// Groups of a head of the longest sequence.
  var groupCount: Int { selection.groupCount(problem.shape.queryLength) }

  /// Whether rows select for themselves and are many: they are then regrouped by what they chose.
  var regroups: Bool {
    selection.rows == 1 && selection.keepsOwn
      && problem.shape.queryLength >= SelectionLayout.regroupedRows
  }

  /// Rows from which on regrouping them pays.
  static let regroupedRows = 64

  /// Blocks in whole panels of lanes.
  var paddedBlocks: Int {
    (blockCount + kernels.panelLanes - 1) / kernels.panelLanes * kernels.panelLanes
  }

  /// Tasks of a head.
  var tasksPerHead: Int {
    let rows = problem.shape.queryLength
    return regroups ? (rows + RegroupedRows.chunkRows - 1) / RegroupedRows.chunkRows : groupCount
  }

  var work: WorkEstimate {
    let shape = problem.shape
    var (pairs, selecting) = (0, 0)
    for geometry in geometries {
      pairs += selection.pairs(under: geometry) * shape.heads
      selecting +=
        selection.flops(under: geometry, headDim: shape.headDim) * shape.heads
        + geometry.keyLength * shape.headDim * shape.kvHeads
    }
    return WorkEstimate(
      pairs: pairs, flops: 2 * pairs * (shape.headDim + shape.valueDim) + selecting,
      minimumBytes: problem.minimumBytes(under: geometries.map { DensePattern($0) }),
      workspaceBytes: workspaceBytes)
  }

  var workspaceBytes: Int {
    var regrouped = ArenaLayout()
    if regroups { _ = RegroupedRows.Layout(self, in: &regrouped) }
    return threads * (SelectionScratch.Layout(self).arena.bytes + regrouped.bytes) + shared.bytes
  }
}
