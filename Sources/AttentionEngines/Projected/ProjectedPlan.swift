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
  /// What additive scores weigh hidden units by, and the name of the operand that it is read from.
  private let weights: (values: AdditiveWeights, operand: String)?
  private let scratch: PerWorker<ProjectionScratch>
  private let queue = TaskQueue()

  /// Rows of a task.
  private static let taskRows = 192

  /// Bytes that such a plan has beside those of the inner one.
  static func workspaceBytes(
    _ problem: AttentionProblem, queries: RowProjection, keys: RowProjection?,
    additive: AdditiveUnits?, threads: Int
  ) -> Int {
    let (shape, float) = (problem.shape, ElementType.float32)
    return float.bytes(ProjectedRows.shape(shape.query, queries))
      + (keys.map { float.bytes(ProjectedRows.shape(shape.key, $0)) } ?? 0)
      + (additive.map { AdditiveWeights.bytes($0, heads: shape.heads) } ?? 0)
      + threads * layout(problem, queries, keys).arena.bytes
  }

  private static func layout(
    _ problem: AttentionProblem, _ queries: RowProjection, _ keys: RowProjection?
  ) -> ProjectionScratch.Layout {
    ProjectionScratch.Layout(
      columns: problem.shape.headDim, projected: max(queries.columns, keys?.columns ?? 0),
      kernels: .active)
  }

  /// - Parameters:
  ///   - operands: what a run takes beyond query, key and value.
  ///   - inner: attends to projected rows.
  init(
    _ problem: AttentionProblem, operands: [OperandDeclaration], queries: RowProjection,
    keys: RowProjection? = nil, weights: (values: AdditiveWeights, operand: String)? = nil,
    inner: any StagedPlan, team: WorkerTeam
  ) throws(AttentionError) {
    self.problem = problem
    self.team = team
    self.inner = inner
    self.weights = weights
    declaredOperands = operands
    self.queries = try ProjectedRows(problem.shape.query, queries)
    self.keys = try keys.map { projection throws(AttentionError) in
      try ProjectedRows(problem.shape.key, projection)
    }
    let layout = Self.layout(problem, queries, keys)
    scratch = try PerWorker(team.threadCount) { () throws(AttentionError) -> ProjectionScratch in
      try ProjectionScratch(layout)
    }
    workspaceBytes =
      inner.workspaceBytes
      + Self.workspaceBytes(
        problem, queries: queries, keys: keys, additive: weights?.values.units,
        threads: team.threadCount)
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
    if let weights, let view = context.operands.inputs.named[weights.operand] {
      weights.values.read(view)
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
          operands.keyLengths?[$0] ?? problem.geometry(batch: $0).keyLength
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
