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
final class SoftmaxPlan: StagedPlan, @unchecked Sendable {
  let problem: AttentionProblem
  let workspaceBytes: Int
  let team: WorkerTeam
  let kernels: KernelTable
  let blocks: BlockSizes
  let tables: [PatternTable]
  let visibility: LoweredVisibility
  let tasks: TaskList
  private let scratch: [PanelScratch]
  /// `[b, h, nQ][2]` maximum and sum between passes; empty when there is one pass. Their LSE alone
  /// would not do: next to a large maximum a sum vanishes.
  let partialStates: AlignedFloats
  /// `[b, h, nQ, dV]` output between passes, where the tensor is not fp32; rounded once, at the end.
  let partialOutput: AlignedFloats
  private let queue = TaskQueue()
  // Set for the time of a run; read by all workers.
  var operands: AttentionOperands?
  private var stage = 0

  /// Sizes and patterns of a plan, worked out without allocating it.
  struct Layout {
    let kernels: KernelTable
    let arithmetic: Arithmetic
    let blocks: BlockSizes
    let visibility: LoweredVisibility
    let workspaceBytes: Int

    init(
      _ problem: AttentionProblem, threads: Int, kernels: KernelTable, arithmetic: Arithmetic,
      blocks: BlockSizes, pattern: (MaskGeometry) -> any KeyPattern
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
      workspaceBytes =
        threads
        * PanelScratch.bytes(
          problem, kernels: kernels, arithmetic: arithmetic, panels: blocks.panels,
          sequences: Layout.sequences(patterns))
        + threads
        * PanelMask.bytes(visibility, problem.shape, kernels: kernels, panels: blocks.panels)
        + visibility.tileBytes
        + Dictionary(patterns.map { ($0.geometry, $0) }) { first, _ in first }.values
        .reduce(0) { $0 + PatternTable.bytes($1) }
        + 4 * Layout.partialCounts(problem, passes: passes).reduce(0, +)
    }

    /// Floats kept between passes: two of state a row, and rows of output where the output itself cannot
    /// hold them without rounding.
    static func partialCounts(_ problem: AttentionProblem, passes: Int) -> [Int] {
      if passes == 1 { return [0, 0] }
      let shape = problem.shape
      return [
        2 * shape.logSumExp.count, problem.storage.output == .float32 ? 0 : shape.output.count,
      ]
    }

    /// The most key sequences any pass of any batch entry has.
    var sequences: Int { Layout.sequences(visibility.patterns) }

    private static func sequences(_ patterns: [any KeyPattern]) -> Int {
      patterns.flatMap { pattern in
        pattern.rowStrides.indices.map { pattern.sequences(pass: $0, residue: 0).count }
      }.max() ?? 1
    }
  }

  init(_ problem: AttentionProblem, layout: Layout, team: WorkerTeam) throws(AttentionError) {
    self.problem = problem
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
    var scratch: [PanelScratch] = []
    for _ in 0..<team.threadCount {
      scratch.append(
        try PanelScratch(
          problem, visibility, kernels: kernels, arithmetic: layout.arithmetic,
          panels: blocks.panels, sequences: layout.sequences))
    }
    self.scratch = scratch
    let counts = Layout.partialCounts(problem, passes: tables[0].passes.count)
    partialStates = try AlignedFloats(count: counts[0], for: "workspace", touched: true)
    partialOutput = try AlignedFloats(count: counts[1], for: "workspace", touched: true)
  }

  var takesPagedRows: Bool { true }

  var stageCount: Int { tasks.stages.count }

  func begin(stage: Int) {
    self.stage = stage
    queue.reset(count: tasks.stages[stage].tasks.count)
  }

  func work(worker: Int) {
    guard let operands else { return }
    let stage = tasks.stages[stage]
    let scratch = scratch[worker]
    stage.tasks.withUnsafeBufferPointer { tasks in
      while let index = queue.next() {
        PanelTaskRun(
          plan: self, operands: operands, scratch: scratch, task: tasks[index],
          pass: stage.pass
        ).run()
      }
    }
  }

  /// Place of a query row in `partialStates` and `partialOutput`.
  @inline(__always)
  func partialIndex(_ batch: Int, _ head: Int, _ row: Int) -> Int {
    (batch * problem.shape.heads + head) * problem.shape.queryLength + row
  }
}
