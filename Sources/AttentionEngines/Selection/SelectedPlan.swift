import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// Attention to blocks of keys that are selected from the data: first the summaries of the blocks, then group by
/// group of query rows the selection and the softmax over what it keeps.
///
/// A group is one worker's work from beginning to end, so that the bits do not depend on how many there are.
final class SelectedPlan: StagedPlan {
  let problem: AttentionProblem
  let team: WorkerTeam
  let job = StageJob()
  let workspaceBytes: Int
  private let layout: SelectionLayout
  private let arena: Arena
  private let scratch: PerWorker<SelectionScratch>
  /// Where rows are regrouped by what they chose.
  private let regrouped: PerWorker<RegroupedRows>?
  private let queue = TaskQueue()

  init(_ layout: SelectionLayout, team: WorkerTeam) throws(AttentionError) {
    problem = layout.problem
    self.team = team
    self.layout = layout
    workspaceBytes = layout.workspaceBytes
    arena = try Arena(layout.shared, for: "summaries of blocks")
    scratch = try PerWorker(team.threadCount) { () throws(AttentionError) -> SelectionScratch in
      try SelectionScratch(layout)
    }
    regrouped =
      layout.regroups
      ? try PerWorker(team.threadCount) { () throws(AttentionError) -> RegroupedRows in
        try RegroupedRows(layout)
      } : nil
  }

  var stageCount: Int { 2 }

  var takesPagedRows: Bool { true }

  var takesKeyLengths: Bool { true }

  func begin(_ context: StageContext) {
    let shape = problem.shape
    queue.reset(
      count: context.stage == 0
        ? shape.batch * shape.kvHeads : shape.batch * layout.headTasks * layout.tasksPerHead)
  }

  func work(_ context: StageContext, worker: Int) {
    let scratch = scratch[worker]
    let shape = problem.shape
    let kept = context.operands.companion as? BlockSummaries
    let firstEntry = context.operands.companionEntry
    /// `[blocks][summaryStride]`.
    func summaries(_ batch: Int, _ kvHead: Int) -> UnsafeMutablePointer<Float> {
      if let kept { return kept.summaries(firstEntry + batch, kvHead) }
      return arena[layout.summaries]
        + (batch * shape.kvHeads + kvHead) * layout.blockCount * layout.summaryStride
    }
    while let task = queue.next() {
      if context.stage == 0 {
        let (batch, kvHead) = task.quotientAndRemainder(dividingBy: shape.kvHeads)
        let geometry = problem.geometry(batch: batch, in: context.operands)
        let blocks = layout.selection.blockCount(geometry.keyLength)
        let first = min(kept?.firstStale(firstEntry + batch) ?? 0, blocks)
        scratch.summarise(
          first..<blocks, of: context.operands.key, geometry, batch, kvHead,
          into: summaries(batch, kvHead))
        continue
      }
      let (place, index) = task.quotientAndRemainder(dividingBy: layout.tasksPerHead)
      let (batch, headTask) = place.quotientAndRemainder(dividingBy: layout.headTasks)
      let heads = layout.heads(headTask)
      let summaries = summaries(batch, heads.lowerBound / shape.groupSize)
      // The last rows have most to choose from and are dealt first.
      let last = layout.tasksPerHead - 1 - index
      let geometry = problem.geometry(batch: batch, in: context.operands)
      guard let regrouped else {
        scratch.attend(
          group: last, geometry, batch, heads, context.operands, summaries: summaries)
        continue
      }
      if geometry.queryLength >= SelectionLayout.regroupedRows {
        regrouped[worker].attend(
          chunk: last, geometry, batch, heads.lowerBound, context.operands, summaries: summaries)
      } else if last == 0 {
        // By its own length, so that a sequence gets the same bits alone as beside longer ones.
        for group in 0..<geometry.queryLength {
          scratch.attend(
            group: group, geometry, batch, heads, context.operands, summaries: summaries)
        }
      }
    }
  }
}
