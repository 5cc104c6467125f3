import AttentionContract
import AttentionKernels
import CAttentionKernels
import MachineTopology
import RealModule
import Tensors

/// The softmax engine: tiled online softmax over any key pattern.
///
/// For each task of each pass: pack the task's query panels, walk the pattern's key sequences in
/// blocks that all panels of the task share, and let every panel meet the part of each block it
/// sees. What all rows of a panel see runs through the full kernel; only the edges are masked, a
/// vector of rows at a time. A later pass merges its result with the output and the LSE the earlier
/// one left.
///
/// Milakov & Gimelshein 2018, arXiv 1805.02867 (online softmax); Dao 2022, arXiv 2205.14135
/// (tiling); Dao 2023, arXiv 2307.08691 (query blocks outermost, one normalisation at the end).
final class SoftmaxPlan: StagedPlan {
  let problem: AttentionProblem
  let workspaceBytes: Int
  let team: WorkerTeam
  let kernels: KernelTable
  let blocks: BlockSizes
  let tables: [PatternTable]
  let visibility: LoweredVisibility
  let tasks: TaskList
  let job = StageJob()
  private let scratch: PerWorker<PanelScratch>
  private let partials: Partials
  private let arena: Arena
  private let queue = TaskQueue()
  /// Where scores are additive; nil where they are products.
  let additive: AdditiveWeights?
  /// What rows with scales are taken less.
  let means: OperandMeans

  /// Sizes and patterns of a plan, worked out without allocating it.
  struct Layout {
    let kernels: KernelTable
    let arithmetic: Arithmetic
    let blocks: BlockSizes
    let visibility: LoweredVisibility
    fileprivate let scratch: PanelScratch.Layout
    fileprivate let partials: Partials
    fileprivate let means: OperandMeans.Layout
    let workspaceBytes: Int

    init(
      _ problem: AttentionProblem, threads: Int, kernels: KernelTable, arithmetic: Arithmetic,
      blocks: BlockSizes, additive: AdditiveUnits? = nil,
      pattern: (MaskGeometry) -> any KeyPattern
    ) {
      self.kernels = kernels
      self.arithmetic = arithmetic
      self.blocks = blocks
      visibility = LoweredVisibility(problem, pattern: pattern)
      let patterns = visibility.patterns
      let passes = patterns[0].rowStrides.count
      precondition(
        patterns.allSatisfy { $0.rowStrides.count == passes },
        "a strategy's pattern must have the same passes for every batch entry")
      scratch = PanelScratch.Layout(
        problem, visibility, kernels: kernels, arithmetic: arithmetic, additive: additive,
        panels: blocks.panels,
        sequences: patterns.flatMap { pattern in
          pattern.rowStrides.indices.map { pattern.sequences(pass: $0, residue: 0).count }
        }.max() ?? 1)
      partials = Partials(problem, passes: passes)
      means = OperandMeans.Layout(problem, arithmetic: arithmetic, threads: threads)
      workspaceBytes =
        threads * scratch.arena.bytes + means.arena.bytes + visibility.tileBytes
        + partials.arena.bytes
        + Dictionary(patterns.map { ($0.geometry, $0) }) { first, _ in first }.values
        .reduce(0) { $0 + PatternTable.bytes($1) }
    }
  }

  /// What is kept of rows between passes; empty when there is one pass.
  fileprivate struct Partials: Sendable {
    var arena = ArenaLayout()
    /// `[b, h, nQ][2]` maximum and sum. Their LSE alone would not do: next to a large maximum a sum
    /// vanishes.
    let states: ArenaPart<Float>
    /// `[b, h, nQ, dV]` output, where the tensor cannot hold it without rounding.
    let output: ArenaPart<Float>

    init(_ problem: AttentionProblem, passes: Int) {
      let shape = problem.shape
      let isFloat32 = problem.storage.output == .float32
      states = arena.add(passes == 1 ? 0 : 2 * shape.logSumExp.count)
      output = arena.add(passes == 1 || isFloat32 ? 0 : shape.output.count)
    }
  }

  /// - Parameter additive: the weights of additive scores, where the layout was made for them.
  init(
    _ problem: AttentionProblem, layout: Layout, additive: AdditiveWeights? = nil,
    team: WorkerTeam
  ) throws(AttentionError) {
    self.problem = problem
    self.additive = additive
    self.team = team
    kernels = layout.kernels
    blocks = layout.blocks
    workspaceBytes = layout.workspaceBytes
    var known: [MaskGeometry: PatternTable] = [:]
    var tables: [PatternTable] = []
    for pattern in layout.visibility.patterns {
      let table = known[pattern.geometry] ?? PatternTable(pattern)
      known[pattern.geometry] = table
      tables.append(table)
    }
    self.tables = tables
    var visibility = layout.visibility
    try visibility.readTiles(kernels)
    self.visibility = visibility
    tasks = TaskList(
      tables: tables, map: visibility.tiles, shape: problem.shape, panelLanes: kernels.panelLanes,
      panels: blocks.panels, threads: team.threadCount)
    scratch = try PerWorker(team.threadCount) {
      [visibility] () throws(AttentionError) -> PanelScratch in
      try PanelScratch(layout.scratch, visibility)
    }
    partials = layout.partials
    arena = try Arena(partials.arena)
    means = try OperandMeans(
      layout.means, scale: ScoreScale(problem.scale, for: layout.arithmetic))
  }

  var takesPagedRows: Bool { true }

  /// Stages before those of the tasks: the means of rows, where they have any.
  private var leadingStages: Int { means.heads > 0 ? 1 : 0 }

  var stageCount: Int { leadingStages + tasks.stages.count }

  func begin(_ context: StageContext) {
    let stage = context.stage - leadingStages
    queue.reset(count: stage < 0 ? means.heads : tasks.stages[stage].tasks.count)
  }

  func work(_ context: StageContext, worker: Int) {
    if context.stage < leadingStages {
      while let head = queue.next() { means.measure(head, of: context.operands, worker: worker) }
      return
    }
    let stage = tasks.stages[context.stage - leadingStages]
    let scratch = scratch[worker]
    stage.tasks.withUnsafeBufferPointer { tasks in
      while let index = queue.next() {
        PanelTaskRun(
          plan: self, operands: context.operands, scratch: scratch, task: tasks[index],
          pass: stage.pass
        ).run()
      }
    }
  }

  /// Maximum and sum of a row between passes.
  @inline(__always)
  func partialState(_ batch: Int, _ head: Int, _ row: Int) -> UnsafeMutablePointer<Float> {
    arena[partials.states] + 2 * partialIndex(batch, head, row)
  }

  /// The fp32 output of a row between passes; nil where the tensor itself takes it, or there is one pass.
  @inline(__always)
  func partialOutput(_ batch: Int, _ head: Int, _ row: Int) -> UnsafeMutablePointer<Float>? {
    if partials.output.count == 0 { return nil }
    return arena[partials.output] + partialIndex(batch, head, row) * problem.shape.valueDim
  }

  private func partialIndex(_ batch: Int, _ head: Int, _ row: Int) -> Int {
    (batch * problem.shape.heads + head) * problem.shape.queryLength + row
  }
}
