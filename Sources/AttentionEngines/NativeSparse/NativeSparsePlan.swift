import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// Native sparse attention: first the means of all blocks, then query rows, those of a group of heads together.
///
/// A row is one worker's work from beginning to end, so that the bits do not depend on how many there are.
final class NativeSparsePlan: StagedPlan {
  let problem: AttentionProblem
  let team: WorkerTeam
  let job = StageJob()
  let workspaceBytes: Int
  let declaredOperands: [OperandDeclaration]
  private let layout: NativeSparseLayout
  private let arena: Arena
  private let scratch: PerWorker<NativeSparseScratch>
  private let queue = TaskQueue()

  init(
    _ layout: NativeSparseLayout, declaring operands: [OperandDeclaration], team: WorkerTeam
  ) throws(AttentionError) {
    problem = layout.problem
    declaredOperands = operands
    self.team = team
    self.layout = layout
    workspaceBytes = layout.workspaceBytes
    arena = try Arena(layout.shared, for: "means of blocks")
    scratch = try PerWorker(team.threadCount) { () throws(AttentionError) -> NativeSparseScratch in
      try NativeSparseScratch(layout)
    }
  }

  var stageCount: Int { 2 }

  var takesPagedRows: Bool { true }

  var takesKeyLengths: Bool { true }

  func begin(_ context: StageContext) {
    let shape = problem.shape
    queue.reset(
      count: shape.batch * shape.kvHeads * (context.stage == 0 ? 1 : layout.tasksPerHead))
  }

  func work(_ context: StageContext, worker: Int) {
    let operands = context.operands
    guard let gate = operands.inputs.named[NativeSparseLayout.gateName]?.unowned else { return }
    let scratch = scratch[worker]
    let shape = problem.shape
    while let task = queue.next() {
      let (place, index) =
        context.stage == 0 ? (task, 0) : task.quotientAndRemainder(dividingBy: layout.tasksPerHead)
      let (batch, kvHead) = place.quotientAndRemainder(dividingBy: shape.kvHeads)
      let geometry = problem.geometry(batch: batch, in: operands)
      let means = NativeSparseScratch.Means(
        keys: arena[layout.keyMeans] + place * layout.blockCount * layout.meanStride,
        values: arena[layout.valueMeans] + place * layout.blockCount * shape.valueDim)
      if context.stage == 0 {
        scratch.average(operands, geometry, batch, kvHead, into: means)
        continue
      }
      // The last rows have most to choose from and are dealt first.
      let first = (layout.tasksPerHead - 1 - index) * NativeSparseLayout.taskRows
      let end = min(first + NativeSparseLayout.taskRows, geometry.queryLength)
      for row in first..<max(first, end) {
        scratch.attend(
          NativeSparseScratch.Place(batch: batch, kvHead: kvHead, row: row), geometry,
          operands, gate: gate, means: means)
      }
    }
  }
}
