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
  /// Whether runs bring the summaries that a decoder keeps beside its cache.
  let hasCompanion: Bool
  /// Numbers of a block's summary, and those rounded up to whole vectors: from one summary to the next.
  let summaryColumns: Int
  let summaryStride: Int
  /// Blocks of the longest sequence.
  let blockCount: Int
  /// Vectors of lanes of a panel: panels of a group are alike, so that none is nearly empty.
  let panelVectors: Int
  /// Panels of a group.
  let panels: Int
  /// Heads of a group that a row is selected for together, so that summaries are read once for them.
  let headsTogether: Int
  /// What workers share: the summaries of all blocks, `[b * hKV][blocks][summaryStride]`.
  private(set) var shared = ArenaLayout()
  let summaries: ArenaPart<Float>

  init(
    _ problem: AttentionProblem, _ selection: BlockSelection, threads: Int, kernels: KernelTable,
    hasCompanion: Bool = false
  ) {
    let shape = problem.shape
    self.problem = problem
    self.selection = selection
    self.kernels = kernels
    self.threads = threads
    let lanes = kernels.vectorLanes
    self.hasCompanion = hasCompanion
    summaryColumns = selection.score.columns(shape.headDim)
    summaryStride = (summaryColumns + lanes - 1) / lanes * lanes
    blockCount = selection.blockCount(shape.keyLength)
    let vectors = (min(selection.rows, shape.queryLength) + lanes - 1) / lanes
    let most = kernels.panelLanes / lanes
    panels = (vectors + most - 1) / most
    panelVectors = (vectors + panels - 1) / panels
    headsTogether = SelectionLayout.headsTogether(shape, selection, threads)
    summaries = shared.add(
      hasCompanion ? 0 : shape.batch * shape.kvHeads * blockCount * summaryStride)
  }

  /// As many as there are unless workers would have nothing to do. The bits are the same in any number.
  private static func headsTogether(
    _ shape: AttentionShape, _ selection: BlockSelection, _ threads: Int
  ) -> Int {
    if selection.rows > 1 { return 1 }
    var heads = min(shape.groupSize, mostHeadsTogether)
    let rows = shape.batch * shape.kvHeads * shape.queryLength
    while heads > 1, rows * ((shape.groupSize + heads - 1) / heads) < threads {
      heads = (heads + 1) / 2
    }
    return heads
  }

  private static let mostHeadsTogether = 8

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

  /// Tasks of the same heads.
  var tasksPerHead: Int {
    let rows = problem.shape.queryLength
    return regroups ? (rows + RegroupedRows.chunkRows - 1) / RegroupedRows.chunkRows : groupCount
  }

  /// Tasks of a sequence's heads for the same rows.
  var headTasks: Int {
    let shape = problem.shape
    if regroups { return shape.heads }
    return shape.kvHeads * ((shape.groupSize + headsTogether - 1) / headsTogether)
  }

  /// The heads of a task.
  func heads(_ task: Int) -> Range<Int> {
    if regroups { return task..<task + 1 }
    let group = problem.shape.groupSize
    let (kvHead, part) = task.quotientAndRemainder(
      dividingBy: (group + headsTogether - 1) / headsTogether)
    let first = kvHead * group + part * headsTogether
    return first..<min(first + headsTogether, (kvHead + 1) * group)
  }

  var work: WorkEstimate {
    let (shape, geometries) = (problem.shape, problem.geometries)
    var (pairs, selecting) = (0, 0)
    for geometry in geometries {
      pairs += selection.pairs(under: geometry) * shape.heads
      selecting +=
        selection.flops(under: geometry, headDim: shape.headDim) * shape.heads
        + geometry.keyLength * shape.headDim * shape.kvHeads * (selection.score == .mean ? 1 : 2)
    }
    return WorkEstimate(
      pairs: pairs, flops: 2 * pairs * (shape.headDim + shape.valueDim) + selecting,
      minimumBytes: problem.minimumBytes(under: geometries.map { DensePattern($0) }),
      workspaceBytes: workspaceBytes)
  }

  /// Of a step over blocks that are summarised but for the last. At most as many keys are read as the heads
  /// keep between them.
  var stepWork: WorkEstimate {
    let shape = problem.shape
    var work = work
    let type = problem.storage.keyValue
    let keyBytes = type.rowBytes(columns: shape.headDim) + type.rowBytes(columns: shape.valueDim)
    work.minimumBytes =
      problem.storage.query.bytes(shape.query) + problem.storage.output.bytes(shape.output)
    for geometry in problem.geometries {
      let blocks = selection.blockCount(geometry.keyLength)
      let summarised = min(geometry.queryLength + selection.block, geometry.keyLength)
      work.flops -=
        (geometry.keyLength - summarised) * shape.headDim * shape.kvHeads
        * (selection.score == .mean ? 1 : 2)
      let kept = min(
        selection.pairs(under: geometry) * shape.groupSize, geometry.keyLength)
      work.minimumBytes += shape.kvHeads * (kept * keyBytes + 4 * blocks * summaryColumns)
    }
    return work
  }

  var workspaceBytes: Int {
    var regrouped = ArenaLayout()
    if regroups { _ = RegroupedRows.Layout(self, in: &regrouped) }
    return threads * (SelectionScratch.Layout(self).arena.bytes + regrouped.bytes) + shared.bytes
  }
}
