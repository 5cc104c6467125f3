import AttentionContract
import AttentionKernels
import CAttentionKernels
import MachineTopology
import Tensors

/// Softmax over the keys around a position that each query predicts, its weights multiplied by a Gaussian
/// around that position, which is not normalised again.
///
/// A few query rows are one worker's work from beginning to end, so that the bits do not depend on how many
/// there are.
package final class PredictedPlan: StagedPlan {
  package let problem: AttentionProblem
  package let team: WorkerTeam
  package let declaredOperands: [OperandDeclaration]
  package let job = StageJob()
  package let workspaceBytes: Int
  private let rule: BiasRule?
  private let scratch: PerWorker<PredictedScratch>
  private let queue = TaskQueue()

  /// Query rows of a task.
  private static let taskRows = 16

  package static func work(
    for problem: AttentionProblem, _ window: PredictedWindow, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    try refuseWindows(problem)
    let shape = problem.shape
    var (pairs, rows) = (0, 0)
    for geometry in problem.geometries {
      for row in 0..<geometry.queryLength {
        pairs += window.pairs(among: geometry.visible(from: row + geometry.offset).count)
      }
      rows += geometry.queryLength
    }
    pairs *= shape.heads
    let predictions = (rows * shape.heads).multipliedReportingOverflow(
      by: window.flops(headDim: shape.headDim))
    if predictions.overflow {
      throw AttentionError(
        .tooLarge, argument: "hidden", value: window.hidden,
        advice: "the operations of its predictions exceed 2^63; use shorter sequences")
    }
    return WorkEstimate(
      pairs: pairs,
      flops: 2 * pairs * (shape.headDim + shape.valueDim)
        + predictions.partialValue,
      minimumBytes: problem.minimumBytes,
      workspaceBytes: threads * PredictedScratch.Layout(problem, window).arena.bytes)
  }

  package init(
    _ problem: AttentionProblem, _ window: PredictedWindow, team: WorkerTeam
  ) throws(AttentionError) {
    try Self.refuseWindows(problem)
    self.problem = problem
    self.team = team
    declaredOperands = [window.weights, window.direction]
    rule = BiasRule(problem)
    let layout = PredictedScratch.Layout(problem, window)
    workspaceBytes = team.threadCount * layout.arena.bytes
    scratch = try PerWorker(team.threadCount) { () throws(AttentionError) -> PredictedScratch in
      try PredictedScratch(layout)
    }
  }

  /// A prediction is among the keys from the first on.
  private static func refuseWindows(_ problem: AttentionProblem) throws(AttentionError) {
    try problem.refuse(
      [.window], advice: "would be a second window around the predicted one; leave it out")
  }

  package var stageCount: Int { 1 }

  package var takesPagedRows: Bool { true }

  package var takesKeyLengths: Bool { true }

  private var tasksPerHead: Int {
    (problem.shape.queryLength + Self.taskRows - 1) / Self.taskRows
  }

  package func begin(_ context: StageContext) {
    queue.reset(count: problem.shape.batch * problem.shape.heads * tasksPerHead)
  }

  package func work(_ context: StageContext, worker: Int) {
    while let task = queue.next() {
      let (place, part) = task.quotientAndRemainder(dividingBy: tasksPerHead)
      let (batch, head) = place.quotientAndRemainder(dividingBy: problem.shape.heads)
      let geometry = problem.geometry(batch: batch, in: context.operands)
      let rows = part * Self.taskRows..<(part + 1) * Self.taskRows
      for row in rows.clamped(to: 0..<geometry.queryLength) {
        let position = row + geometry.offset
        scratch[worker].attend(
          PredictedScratch.Row(
            batch: batch, head: head, row: row,
            visible: geometry.visible(from: position).count,
            bias: rule?.row(batch, head, row, position: position)),
          context.operands)
      }
    }
  }
}

/// One worker's memory, and what a row does with it.
final class PredictedScratch {
  /// Sizes of the memory and where everything lies in it.
  struct Layout: Sendable {
    private(set) var arena = ArenaLayout()
    fileprivate let problem: AttentionProblem
    fileprivate let window: PredictedWindow
    /// One row.
    fileprivate let decoded: DecodedRows.Layout
    /// `[ATTN_DECODE_KEYS]` each, of the keys that are met: numbers, and the Gaussian in whole vectors.
    fileprivate let numbers: ArenaPart<Int32>
    fileprivate let factors: ArenaPart<Float>

    init(_ problem: AttentionProblem, _ window: PredictedWindow) {
      self.problem = problem
      self.window = window
      decoded = DecodedRows.Layout(
        problem, places: 1, together: 1, keys: Int(ATTN_DECODE_KEYS), in: &arena)
      numbers = arena.add(Int(ATTN_DECODE_KEYS))
      factors = arena.add(Int(ATTN_DECODE_SCORES))
    }
  }

  /// A query row and what it may see.
  struct Row {
    let batch: Int
    let head: Int
    let row: Int
    /// Keys before the first that it may not see.
    let visible: Int
    let bias: attn_row_bias?
  }

  private let layout: Layout
  private let arena: Arena
  private let kernels = KernelTable.active
  private let decoded: DecodedRows

  init(_ layout: Layout) throws(AttentionError) {
    self.layout = layout
    arena = try Arena(layout.arena)
    decoded = DecodedRows(layout.problem, layout.decoded, arena, kernels.functions)
  }

  func attend(_ row: Row, _ operands: AttentionOperands) {
    let window = layout.window
    guard let weights = operands.inputs.named[window.weights.name],
      let direction = operands.inputs.named[window.direction.name]
    else { return }
    let query = decoded.query(operands.query, row.batch, row.head, row.row)
    decoded.put(query, into: 0)
    if row.visible > 0 {
      let position = window.position(
        query, among: row.visible, weights, direction, head: row.head)
      // Wherever it looked would be a choice.
      if position.isNaN {
        return decoded.storeNaN(row.batch, row.head, row.row, operands)
      }
      let keys = window.keys(around: position, among: row.visible)
      var first = keys.lowerBound
      while first < keys.upperBound {
        let chunk = first..<min(first + Int(ATTN_DECODE_KEYS), keys.upperBound)
        meet(chunk, around: position, row, operands)
        first = chunk.upperBound
      }
    }
    decoded.store(0, row.batch, row.head, row.row, operands)
  }

  private func meet(
    _ chunk: Range<Int>, around position: Double, _ row: Row, _ operands: AttentionOperands
  ) {
    let (numbers, factors) = (arena[layout.numbers], arena[layout.factors])
    for (place, key) in chunk.enumerated() {
      numbers[place] = Int32(key)
      let distance = (Double(key) - position) / Double(layout.window.width)
      factors[place] = Float(-2 * distance * distance)
    }
    let lanes = kernels.vectorLanes
    let whole = (chunk.count + lanes - 1) / lanes * lanes
    (factors + chunk.count).update(repeating: 0, count: whole - chunk.count)
    kernels.functions.pointee.exp_row(factors, Int64(whole), factors)
    let kvHead = row.head / layout.problem.shape.groupSize
    decoded.tables.point(at: chunk, row.batch, kvHead, operands)
    decoded.tables.bring(chunk.count, row.batch, kvHead, operands)
    withUnsafePointer(to: row.bias ?? attn_row_bias()) { bias in
      decoded.meet(
        chunk.count, places: 0..<1, numbers: numbers, factors: factors,
        biases: row.bias == nil ? nil : bias)
    }
  }
}
