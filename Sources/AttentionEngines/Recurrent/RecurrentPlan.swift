import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// A recurrence over a prompt, by chunks: heads, and panels of their value columns, dealt to the workers.
///
/// Every column of a state is summed in the order of its tokens whoever does it, so that the bits do not
/// depend on the number of workers.
package final class RecurrentPlan: StagedPlan {
  package let problem: AttentionProblem
  package let workspaceBytes: Int
  package let team: WorkerTeam
  package let declaredOperands: [OperandDeclaration]
  package let job = StageJob()
  private let layout: RecurrentLayout
  private let walks: [RecurrentLayout.Walk]
  /// Those of runs whose final state is asked for: over all tokens, whether a query sees them or not.
  private let wholeWalks: [RecurrentLayout.Walk]
  private let scratch: PerWorker<RecurrentScratch>
  private let queue: HomeTaskQueue

  package init(
    _ strategy: any RecurrentStrategy, _ problem: AttentionProblem, team: WorkerTeam,
    kernels: KernelTable
  ) throws(AttentionError) {
    self.problem = problem
    self.team = team
    queue = HomeTaskQueue(workers: team.threadCount)
    declaredOperands = strategy.operands
    let layout = RecurrentLayout(
      problem, strategy.recurrence(for: problem.shape), operands: strategy.operands,
      threads: team.threadCount, kernels: kernels)
    self.layout = layout
    workspaceBytes = layout.workspaceBytes
    walks = (0..<problem.shape.batch).map { layout.walk(batch: $0, keepsState: false) }
    wholeWalks = (0..<problem.shape.batch).map { layout.walk(batch: $0, keepsState: true) }
    let prepared = strategy.prepared(for: problem)
    scratch = try PerWorker(team.threadCount) { () throws(AttentionError) -> RecurrentScratch in
      try RecurrentScratch(layout, prepared, kernels: kernels)
    }
  }

  package var takesPagedRows: Bool { true }

  package var stateShape: TensorShape? { layout.stateShape }

  package var stageCount: Int { 1 }

  package func begin(_ context: StageContext) {
    queue.reset(count: layout.headCount * layout.pieces)
  }

  package func work(_ context: StageContext, worker: Int) {
    let scratch = scratch[worker]
    scratch.open(context.operands)
    while let task = queue.next(for: worker) {
      let (place, piece) = task.quotientAndRemainder(dividingBy: layout.pieces)
      let (batch, kvHead) = place.quotientAndRemainder(dividingBy: problem.shape.kvHeads)
      let head = RecurrentScratch.Head(batch, kvHead, piece: piece, layout)
      let walks = context.operands.finalState == nil ? walks : wholeWalks
      scratch.run(walks[batch], context.operands, head)
    }
  }
}
