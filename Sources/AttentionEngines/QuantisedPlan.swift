import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// Attention over keys and values that are first stored as another element type, in the plan's own
/// memory.
///
/// The rows in use are converted, dealt to the workers in runs of rows, and the inner plan runs on
/// the copies. With a scale a token every row is converted by itself: a NaN or an infinity makes
/// that row NaN and reaches the query rows that see it. With a scale a channel the scales are taken
/// over the keys in use of a head whose rows are finite; a query row that sees a row which is not
/// becomes NaN, and so does its LSE if the row is a key.
final class QuantisedPlan: StagedPlan {
  let problem: AttentionProblem
  let workspaceBytes: Int
  let team: WorkerTeam
  let job = StageJob()
  private let inner: any StagedPlan
  private let visibility: LoweredVisibility
  private let keys: QuantisedRows
  private let values: QuantisedRows
  private let queue = TaskQueue()

  private static let taskRows = 512

  /// The problem that the inner plan serves.
  static func inner(
    _ problem: AttentionProblem, _ storage: ElementType
  ) throws(AttentionError) -> AttentionProblem {
    guard problem.storage.keyValue.isFloatingPoint else {
      throw AttentionError(
        .invalidArgument, argument: "kv", value: storage.rawValue,
        advice: "keys and values are stored as \(problem.storage.keyValue.rawValue) already; "
          + "leave the parameter out")
    }
    var stored = problem.storage
    stored.keyValue = storage
    return try problem.storing(stored)
  }

  /// Bytes that a plan takes besides the inner plan's.
  static func workspaceBytes(
    _ problem: AttentionProblem, _ storage: ElementType, threads: Int
  ) -> Int {
    let shape = problem.shape
    return QuantisedRows.bytes(shape.key, storage, threads: threads)
      + QuantisedRows.bytes(shape.value, storage, threads: threads)
  }

  /// - Parameters:
  ///   - inner: a plan for `inner(problem, storage)`.
  ///   - pattern: the keys that a query sees, for rows that are not finite.
  init(
    _ problem: AttentionProblem, storedAs storage: ElementType, inner: any StagedPlan,
    team: WorkerTeam, pattern: (MaskGeometry) -> any KeyPattern
  ) throws(AttentionError) {
    self.problem = problem
    self.inner = inner
    self.team = team
    visibility = LoweredVisibility(problem, pattern: pattern)
    keys = try QuantisedRows(problem.shape.key, storage, threads: team.threadCount)
    values = try QuantisedRows(problem.shape.value, storage, threads: team.threadCount)
    workspaceBytes =
      inner.workspaceBytes
      + QuantisedPlan.workspaceBytes(problem, storage, threads: team.threadCount)
  }

  var takesPagedRows: Bool { inner.takesPagedRows }

  private var heads: Int { problem.shape.batch * problem.shape.kvHeads }

  private var tasksPerHead: Int {
    (problem.shape.keyLength + QuantisedPlan.taskRows - 1) / QuantisedPlan.taskRows
  }

  /// What a stage does.
  private enum Phase {
    case calibrate
    case store
    /// A stage of the inner plan.
    case attend(Int)
    case spreadNotFinite
  }

  /// Stages before the inner plan's.
  private var leadingStages: Int { keys.hasChannelScales ? 2 : 1 }

  var stageCount: Int { leadingStages + inner.stageCount + (keys.hasChannelScales ? 1 : 0) }

  private func phase(_ stage: Int) -> Phase {
    if stage < leadingStages { return stage + 1 < leadingStages ? .calibrate : .store }
    let stage = stage - leadingStages
    return stage < inner.stageCount ? .attend(stage) : .spreadNotFinite
  }

  /// A stage of the inner plan, on what was stored.
  private func inner(_ context: StageContext, _ stage: Int) -> StageContext {
    var stored = context.operands
    stored.key = keys.view
    stored.value = values.view
    return StageContext(operands: stored, stage: stage)
  }

  func begin(_ context: StageContext) {
    switch phase(context.stage) {
    case .calibrate: queue.reset(count: heads)
    case .store: queue.reset(count: heads * tasksPerHead)
    case .attend(let stage): inner.begin(inner(context, stage))
    case .spreadNotFinite: spreadNotFinite(context.operands)
    }
  }

  func work(_ context: StageContext, worker: Int) {
    switch phase(context.stage) {
    case .calibrate:
      while let head = queue.next() {
        let (batch, kvHead) = head.quotientAndRemainder(dividingBy: problem.shape.kvHeads)
        let used = 0..<problem.geometry(batch: batch).keyLength
        keys.calibrate(used, of: context.operands.key, batch, kvHead, worker: worker)
        values.calibrate(used, of: context.operands.value, batch, kvHead, worker: worker)
      }
    case .store:
      while let task = queue.next() {
        let (head, part) = task.quotientAndRemainder(dividingBy: tasksPerHead)
        let (batch, kvHead) = head.quotientAndRemainder(dividingBy: problem.shape.kvHeads)
        let first = part * QuantisedPlan.taskRows
        let rows = (first..<first + QuantisedPlan.taskRows)
          .clamped(to: 0..<problem.geometry(batch: batch).keyLength)
        keys.store(rows, of: context.operands.key, batch, kvHead, worker: worker)
        values.store(rows, of: context.operands.value, batch, kvHead, worker: worker)
      }
    case .attend(let stage): inner.work(inner(context, stage), worker: worker)
    case .spreadNotFinite: break
    }
  }

  /// Makes NaN what sees a row that a scale a channel could not store.
  private func spreadNotFinite(_ operands: AttentionOperands) {
    for batch in 0..<problem.shape.batch {
      for kvHead in 0..<problem.shape.kvHeads {
        for (rows, isKey) in [(keys, true), (values, false)]
        where rows.hasRowsLeftOut(batch, kvHead) {
          for key in 0..<problem.geometry(batch: batch).keyLength
          where rows.isLeftOut(batch, kvHead, key) {
            spread(key, operands, batch, kvHead, isKey: isKey)
          }
        }
      }
    }
  }

  private func spread(
    _ key: Int, _ operands: AttentionOperands, _ batch: Int, _ kvHead: Int, isKey: Bool
  ) {
    let format = RowFormat(problem.storage.output, columns: problem.shape.valueDim)
    let group = problem.shape.groupSize
    for head in kvHead * group..<(kvHead + 1) * group {
      for row in 0..<visibility.patterns[batch].geometry.queryLength
      where visibility.shows(key, batch, head, row) {
        format.store(values.notANumber, to: operands.output.rowAddress(batch, head, row))
        if isKey { operands.logSumExp?.row(batch, head, row)[0] = .nan }
      }
    }
  }
}
