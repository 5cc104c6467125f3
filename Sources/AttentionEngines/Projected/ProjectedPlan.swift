import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// Attention on projections of queries, and of keys where scores are additive: a stage that takes them, then
/// the stages of softmax attention.
package final class ProjectedPlan: StagedPlan {
  package let problem: AttentionProblem
  package let workspaceBytes: Int
  package let team: WorkerTeam
  package let declaredOperands: [OperandDeclaration]
  package let job = StageJob()
  private let inner: any StagedPlan
  private let queries: ProjectedRows
  private let keys: ProjectedRows?
  private let projection: ScoreProjection
  /// What additive scores weigh hidden units by.
  private let weights: AdditiveWeights?
  private let scratch: PerWorker<ProjectionScratch>
  private let queue = TaskQueue()

  /// Rows of a task.
  private static let taskRows = 192

  /// Bytes that such a plan has beside those of the inner one.
  static func workspaceBytes(
    _ problem: AttentionProblem, _ projection: ScoreProjection, threads: Int
  ) -> Int {
    let (shape, float) = (problem.shape, ElementType.float32)
    return float.bytes(ProjectedRows.shape(shape.query, projection.queries))
      + (projection.keys.map { float.bytes(ProjectedRows.shape(shape.key, $0)) } ?? 0)
      + (projection.additive.map { AdditiveWeights.bytes($0.units, heads: shape.heads) } ?? 0)
      + threads * layout(problem, projection).arena.bytes
  }

  private static func layout(
    _ problem: AttentionProblem, _ projection: ScoreProjection
  ) -> ProjectionScratch.Layout {
    ProjectionScratch.Layout(
      columns: problem.shape.headDim, projected: projection.queries.columns, kernels: .active)
  }

  /// - Parameter inner: attends to projected rows.
  init(
    _ problem: AttentionProblem, _ projection: ScoreProjection, weights: AdditiveWeights?,
    inner: any StagedPlan, team: WorkerTeam
  ) throws(AttentionError) {
    self.problem = problem
    self.team = team
    self.inner = inner
    self.projection = projection
    self.weights = weights
    declaredOperands = projection.operands
    queries = try ProjectedRows(problem.shape.query, projection.queries)
    keys = try projection.keys.map { keys throws(AttentionError) in
      try ProjectedRows(problem.shape.key, keys)
    }
    let layout = Self.layout(problem, projection)
    scratch = try PerWorker(team.threadCount) { () throws(AttentionError) -> ProjectionScratch in
      try ProjectionScratch(layout)
    }
    workspaceBytes =
      inner.workspaceBytes
      + Self.workspaceBytes(problem, projection, threads: team.threadCount)
  }

  package var takesPagedRows: Bool { inner.takesPagedRows }

  package var takesKeyLengths: Bool { inner.takesKeyLengths }

  package var stageCount: Int { 1 + inner.stageCount }

  private func tasks(_ rows: Int) -> Int { (rows + Self.taskRows - 1) / Self.taskRows }

  private var queryTasks: Int {
    problem.shape.batch * problem.shape.heads * tasks(problem.shape.queryLength)
  }

  /// A stage of the inner plan, on what was projected.
  private func inner(_ context: StageContext) -> StageContext {
    var projected = context.operands
    projected.query = queries.view
    if let keys { projected.key = keys.view }
    return StageContext(operands: projected, stage: context.stage - 1)
  }

  package func begin(_ context: StageContext) {
    if context.stage > 0 { return inner.begin(inner(context)) }
    if let name = projection.additive?.weights,
      let view = context.operands.inputs.named[name]
    {
      weights?.read(view)
    }
    let shape = problem.shape
    let keyTasks = keys == nil ? 0 : shape.batch * shape.kvHeads * tasks(shape.keyLength)
    queue.reset(count: queryTasks + keyTasks)
  }

  package func work(_ context: StageContext, worker: Int) {
    if context.stage > 0 { return inner.work(inner(context), worker: worker) }
    let operands = context.operands
    while let task = queue.next() {
      if task < queryTasks {
        project(task, of: operands.query, into: queries, operands, scratch[worker]) {
          problem.geometry(batch: $0).queryLength
        }
      } else if let keys {
        project(task - queryTasks, of: operands.key, into: keys, operands, scratch[worker]) {
          problem.geometry(batch: $0, in: operands).keyLength
        }
      }
    }
  }

  private func project(
    _ task: Int, of tensor: TensorView, into projected: ProjectedRows,
    _ operands: AttentionOperands, _ scratch: ProjectionScratch, used: (_ batch: Int) -> Int
  ) {
    guard let weights = operands.inputs.named[projected.projection.operand] else { return }
    let (place, part) = task.quotientAndRemainder(dividingBy: tasks(projected.shape.rows))
    let (batch, head) = place.quotientAndRemainder(dividingBy: projected.shape.heads)
    let rows = (part * Self.taskRows..<(part + 1) * Self.taskRows).clamped(to: 0..<used(batch))
    scratch.project(rows, of: tensor, batch, head, by: weights, into: projected)
  }
}
