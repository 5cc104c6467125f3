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
  /// Where rows are regrouped by stretches of keys.
  private let layout: StretchLayout?
  private let stretches: KeptStretches?
  private let stretchRows: PerWorker<StretchRows>?
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
    let stretchLayout = layout.stretches(method)
    self.layout = stretchLayout
    guard let stretchLayout else {
      (stretches, stretchRows) = (nil, nil)
      return
    }
    stretches = try KeptStretches(stretchLayout, threads: team.threadCount)
    stretchRows = try PerWorker(team.threadCount) { () throws(AttentionError) -> StretchRows in
      try StretchRows(stretchLayout)
    }
  }

  private enum Stage {
    case prepare(Int)
    case select(Range<Int>)
    case regroup(Range<Int>)
    case attend(Range<Int>)
  }

  /// Stages of some rows.
  private var turnStages: Int { stretches == nil ? 2 : 3 }

  private func stage(_ number: Int) -> Stage {
    if number < selector.preparations { return .prepare(number) }
    let (turn, part) = (number - selector.preparations).quotientAndRemainder(
      dividingBy: turnStages)
    let first = turn * selector.rowsAtATime
    let rows = first..<min(first + selector.rowsAtATime, problem.shape.queryLength)
    if part == 0 { return .select(rows) }
    return part == turnStages - 1 ? .attend(rows) : .regroup(rows)
  }

  var stageCount: Int {
    let rows = problem.shape.queryLength
    return selector.preparations
      + turnStages * ((rows + selector.rowsAtATime - 1) / selector.rowsAtATime)
  }

  var takesPagedRows: Bool { true }

  var takesKeyLengths: Bool { true }

  func begin(_ context: StageContext) {
    switch stage(context.stage) {
    case .prepare(let number): queue.reset(count: selector.tasks(preparing: number))
    case .select(let rows): queue.reset(count: selector.tasks(selecting: rows))
    case .regroup: queue.reset(count: stretches?.tasks ?? 0)
    case .attend(let rows):
      let tasks =
        layout.map { $0.headTasks * $0.chunks } ?? scratch[0].headTasks * scratch[0].rowTasks(rows)
      queue.reset(count: problem.shape.batch * tasks)
    }
  }

  func work(_ context: StageContext, worker: Int) {
    let operands = context.operands
    let stage = stage(context.stage)
    while let task = queue.next() {
      switch stage {
      case .prepare(let number): selector.prepare(number, task: task, operands, worker: worker)
      case .select(let rows): selector.select(rows: rows, task: task, operands, worker: worker)
      case .regroup(let rows):
        guard let stretches, let lists = selector.lists else { continue }
        stretches.regroup(task, rows, operands, lists, worker: worker)
      case .attend(let rows):
        guard let layout else {
          scratch[worker].attend(task, rows, operands, selector)
          continue
        }
        attend(task, rows, layout, operands, worker)
      }
    }
  }

  /// Lets some heads of a chunk of rows attend.
  private func attend(
    _ task: Int, _ turn: Range<Int>, _ layout: StretchLayout, _ operands: AttentionOperands,
    _ worker: Int
  ) {
    guard let stretches, let stretchRows, let lists = selector.lists else { return }
    let (place, chunk) = task.quotientAndRemainder(dividingBy: layout.chunks)
    let (batch, headTask) = place.quotientAndRemainder(dividingBy: layout.headTasks)
    let heads = layout.heads(headTask)
    let geometry = problem.geometry(batch: batch, in: operands)
    let rows = layout.rows(chunk, of: turn, geometry)
    if rows.isEmpty { return }
    if StretchLayout.regroups(geometry) {
      let first = batch * layout.turnRows - turn.lowerBound
      stretchRows[worker].attend(
        batch, heads, chunk, rows, geometry, operands, stretches
      ) { row in lists[first + row] == nil }
    } else if chunk == 0 {
      for part in 0..<scratch[worker].rowTasks(turn) {
        scratch[worker].attend(batch, heads, part, turn, operands, selector)
      }
    }
  }
}
