import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// Attention to single keys that are selected from the data: rows are selected for and then attend, some of
/// them at a time, so that what they keep need not be held for all.
///
/// A row's keys are met in an order that depends on the row alone, so that the bits do not depend on the
/// number of workers.
final class KeptKeysPlan: StagedPlan {
  let problem: AttentionProblem
  let team: WorkerTeam
  let job = StageJob()
  let workspaceBytes: Int
  let declaredOperands: [OperandDeclaration]
  private let selector: any KeySelector
  private let scratch: PerWorker<KeptRows>
  private let queue = TaskQueue()

  init(
    _ layout: KeptKeysLayout, _ method: any KeySelectionMethod, team: WorkerTeam
  ) throws(AttentionError) {
    problem = layout.problem
    self.team = team
    workspaceBytes = layout.workspaceBytes(method)
    // A companion has those of a step.
    declaredOperands = layout.hasCompanion ? [] : method.operands
    selector = try method.selector(layout)
    scratch = try PerWorker(team.threadCount) { () throws(AttentionError) -> KeptRows in
      try KeptRows(layout, method)
    }
  }

  private enum Stage {
    case prepare(Int)
    case select(Range<Int>)
    case attend(Range<Int>)
  }

  private func stage(_ number: Int) -> Stage {
    if number < selector.preparations { return .prepare(number) }
    let (turn, part) = (number - selector.preparations).quotientAndRemainder(dividingBy: 2)
    let first = turn * selector.rowsAtATime
    let rows = first..<min(first + selector.rowsAtATime, problem.shape.queryLength)
    return part == 0 ? .select(rows) : .attend(rows)
  }

  var stageCount: Int {
    let rows = problem.shape.queryLength
    return selector.preparations + 2 * ((rows + selector.rowsAtATime - 1) / selector.rowsAtATime)
  }

  var takesPagedRows: Bool { true }

  var takesKeyLengths: Bool { true }

  func begin(_ context: StageContext) {
    switch stage(context.stage) {
    case .prepare(let number): queue.reset(count: selector.tasks(preparing: number))
    case .select(let rows): queue.reset(count: selector.tasks(selecting: rows))
    case .attend(let rows):
      queue.reset(
        count: problem.shape.batch * scratch[0].headTasks * scratch[0].rowTasks(rows))
    }
  }

  func work(_ context: StageContext, worker: Int) {
    let operands = context.operands
    let stage = stage(context.stage)
    while let task = queue.next() {
      switch stage {
      case .prepare(let number): selector.prepare(number, task: task, operands, worker: worker)
      case .select(let rows): selector.select(rows: rows, task: task, operands, worker: worker)
      case .attend(let rows): scratch[worker].attend(task, rows, operands, selector)
      }
    }
  }
}
