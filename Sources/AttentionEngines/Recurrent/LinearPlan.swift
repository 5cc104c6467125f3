import AttentionContract
import AttentionKernels
import CAttentionKernels
import MachineTopology
import Tensors

/// Linear attention in up to three phases, each dealt to the workers in tasks.
///
/// Not causal: sum the states of fixed segments of keys; add them up in order; multiply every
/// query panel with the total. Causal: walk the query panels of a segment in order, scoring pairs
/// only within a panel's own keys and taking those keys into the state afterwards; with more than
/// one segment a head, the segments' states are summed first and each starts from the sum of
/// those before it.
package final class LinearPlan: StagedPlan {
  package let problem: AttentionProblem
  package let workspaceBytes: Int
  package let team: WorkerTeam
  private let layout: LinearLayout
  private let stages: [Stage]
  package let job = StageJob()
  private let scratch: PerWorker<LinearScratch>
  private let arena: Arena
  private let queue = TaskQueue()

  private enum Phase {
    case accumulate
    case reduce
    case output
  }

  /// A phase and its share for the workers.
  private struct Stage: Sendable {
    let phase: Phase
    let tasks: [LinearLayout.Task]
  }

  package init(
    _ problem: AttentionProblem, team: WorkerTeam, kernels: KernelTable
  ) throws(AttentionError) {
    self.problem = problem
    self.team = team
    layout = LinearLayout(problem, threads: team.threadCount, kernels: kernels)
    workspaceBytes = layout.workspaceBytes
    stages = [
      Stage(phase: .accumulate, tasks: layout.summing),
      Stage(phase: .reduce, tasks: layout.adding),
      Stage(phase: .output, tasks: layout.serving),
    ].filter { !$0.tasks.isEmpty }
    scratch = try PerWorker(team.threadCount) {
      [state = layout.state] () throws(AttentionError) -> LinearScratch in
      try LinearScratch(state, kernels: kernels)
    }
    arena = try Arena(layout.arena)
  }

  package var takesPagedRows: Bool { true }

  package var stageCount: Int { stages.count }

  package func begin(_ context: StageContext) {
    queue.reset(count: stages[context.stage].tasks.count)
  }

  package func work(_ context: StageContext, worker: Int) {
    let operands = context.operands
    let scratch = scratch[worker]
    let stage = stages[context.stage]
    while let index = queue.next() {
      let task = stage.tasks[index]
      switch stage.phase {
      case .accumulate: accumulate(operands, scratch, task)
      case .reduce: reduce(task)
      case .output:
        if layout.isCausal {
          walk(operands, scratch, task)
        } else {
          multiply(operands, scratch, task)
        }
      }
    }
  }

  /// The state of a segment of a task's head.
  private func state(_ task: LinearLayout.Task, segment: Int) -> UnsafeMutablePointer<Float> {
    let entry = layout.entries[task.batch]
    return arena[layout.states]
      + (entry.firstState + task.kvHead * entry.segments + segment) * layout.state.count
  }

  private func accumulate(
    _ operands: AttentionOperands, _ scratch: LinearScratch, _ task: LinearLayout.Task
  ) {
    let state = state(task, segment: task.index)
    state.update(repeating: 0, count: layout.state.count)
    take(
      layout.keys(of: task.index, layout.entries[task.batch]), operands, scratch, task,
      into: state)
  }

  private func take(
    _ keys: Range<Int>, _ operands: AttentionOperands, _ scratch: LinearScratch,
    _ task: LinearLayout.Task, into state: UnsafeMutablePointer<Float>
  ) {
    scratch.take(
      keys, key: operands.key, value: operands.value, batch: task.batch, kvHead: task.kvHead,
      limit: layout.entries[task.batch].geometry.keyLength, into: state)
  }

  private func load(
    _ keys: Range<Int>, _ operands: AttentionOperands, _ scratch: LinearScratch,
    _ task: LinearLayout.Task
  ) {
    scratch.load(
      keys: keys, key: operands.key, value: operands.value, batch: task.batch,
      kvHead: task.kvHead, limit: layout.entries[task.batch].geometry.keyLength)
  }

  /// Not causal: the total, in segment 0. Causal: in every segment the sum of those before it.
  private func reduce(_ task: LinearLayout.Task) {
    let count = layout.state.count
    let entry = layout.entries[task.batch]
    if !layout.isCausal {
      let total = state(task, segment: 0)
      for segment in 1..<entry.segments {
        let part = state(task, segment: segment)
        for i in 0..<count { total[i] += part[i] }
      }
      return
    }
    for i in 0..<count {
      var sum: Float = 0
      for segment in 0..<entry.segments {
        let place = state(task, segment: segment) + i
        (sum, place.pointee) = (sum + (segment < entry.summedSegments ? place.pointee : 0), sum)
      }
    }
  }

  /// Not causal: some query panels against the total.
  private func multiply(
    _ operands: AttentionOperands, _ scratch: LinearScratch, _ task: LinearLayout.Task
  ) {
    for panel in layout.panels(ofBlock: task.index, layout.entries[task.batch]) {
      attend(operands, scratch, task, panel: panel, state: state(task, segment: 0), chunk: 0..<0)
    }
  }

  /// Causal: the query panels of a segment in order.
  private func walk(
    _ operands: AttentionOperands, _ scratch: LinearScratch, _ task: LinearLayout.Task
  ) {
    let entry = layout.entries[task.batch]
    let geometry = entry.geometry
    if task.index == 0 {
      scratch.reset()
    } else {
      scratch.state.update(from: state(task, segment: task.index), count: layout.state.count)
    }
    for panel in layout.panels(of: task.index, entry) {
      let taken = layout.keyEnd(before: panel, geometry)
      let paired = layout.pairedFrom(panel, geometry)
      let end = layout.keyEnd(of: panel, geometry)
      take(taken..<paired, operands, scratch, task, into: scratch.state)
      let chunk = paired..<max(end, paired)
      load(chunk, operands, scratch, task)
      attend(operands, scratch, task, panel: panel, state: scratch.state, chunk: chunk)
      let next = layout.keyEnd(before: panel + 1, geometry)
      scratch.accumulate(count: max(next - paired, 0), into: scratch.state)
    }
  }

  private func attend(
    _ operands: AttentionOperands, _ scratch: LinearScratch, _ task: LinearLayout.Task,
    panel: Int, state: UnsafePointer<Float>, chunk: Range<Int>
  ) {
    let entry = layout.entries[task.batch]
    let group = problem.shape.groupSize
    let rows = { (panel: Int) in
      PanelRows(
        panel: panel, lanes: self.layout.state.lanes,
        total: entry.geometry.queryLength * group, kvHead: task.kvHead, groupSize: group)
    }
    scratch.attend(
      operands, batch: task.batch, rows: rows(panel),
      upcoming: panel + 1 < entry.panels ? rows(panel + 1) : nil, geometry: entry.geometry,
      state: state, chunk: chunk)
  }
}
