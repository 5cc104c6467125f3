import AttentionContract
import AttentionKernels
import CAttentionKernels
import MachineTopology
import RealModule
import Tensors

/// Softmax over the keys around a position that each query predicts, its weights multiplied by a Gaussian
/// around that position, which is not normalised again.
///
/// A few query rows are one worker's work from beginning to end, so that the bits do not depend on how many
/// there are. Unchecked: one thread says what keys are in use, before its workers start.
package final class PredictedPlan: StagedPlan, @unchecked Sendable {
  package let problem: AttentionProblem
  package let team: WorkerTeam
  package let declaredOperands: [OperandDeclaration]
  package let job = StageJob()
  package let workspaceBytes: Int
  private let rule: BiasRule?
  private let scratch: PerWorker<PredictedScratch>
  private let queue = TaskQueue()
  /// `[b]`, of the run under way.
  private var geometries: [MaskGeometry]

  /// Query rows of a task.
  private static let taskRows = 16

  package static func work(
    for problem: AttentionProblem, _ window: PredictedWindow, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    try refuseWindows(problem)
    let shape = problem.shape
    var (pairs, rows) = (0, 0)
    for batch in 0..<shape.batch {
      let geometry = problem.geometry(batch: batch)
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
    geometries = (0..<problem.shape.batch).map { problem.geometry(batch: $0) }
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
    let shape = problem.shape
    for batch in 0..<shape.batch {
      geometries[batch] =
        context.operands.keyLengths.map { problem.geometry(batch: batch, keyLength: $0[batch]) }
        ?? problem.geometry(batch: batch)
    }
    queue.reset(count: shape.batch * shape.heads * tasksPerHead)
  }

  package func work(_ context: StageContext, worker: Int) {
    while let task = queue.next() {
      let (place, part) = task.quotientAndRemainder(dividingBy: tasksPerHead)
      let (batch, head) = place.quotientAndRemainder(dividingBy: problem.shape.heads)
      let geometry = geometries[batch]
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
    fileprivate let queryStride: Int
    fileprivate let row: ArenaPart<Float>
    fileprivate let query: ArenaPart<Float>
    fileprivate let scores: ArenaPart<Float>
    fileprivate let output: ArenaPart<Float>
    fileprivate let factors: ArenaPart<Float>
    fileprivate let keyCopies: ArenaPart<Float>
    fileprivate let valueCopies: ArenaPart<Float>
    fileprivate let keys: ArenaPart<UnsafeRawPointer>
    fileprivate let values: ArenaPart<UnsafeRawPointer>
    fileprivate let numbers: ArenaPart<Int32>
    /// What the row has come to: its maximum and sum; and the first and the last place that it sees.
    fileprivate let maximum: ArenaPart<Float>
    fileprivate let sum: ArenaPart<Float>
    fileprivate let lower: ArenaPart<Int32>
    fileprivate let upper: ArenaPart<Int32>

    init(_ problem: AttentionProblem, _ window: PredictedWindow) {
      let (shape, most) = (problem.shape, Int(ATTN_DECODE_KEYS))
      self.problem = problem
      self.window = window
      queryStride = (shape.headDim + 15) & ~15
      row = arena.add(queryStride)
      query = arena.add(queryStride)
      scores = arena.add(Int(ATTN_DECODE_SCORES))
      output = arena.add(shape.valueDim)
      factors = arena.add(Int(ATTN_DECODE_SCORES))
      // Rows of 8-bit integers as fp32.
      let copies = problem.storage.keyValue.isFloatingPoint ? 0 : most
      keyCopies = arena.add(copies * shape.headDim)
      valueCopies = arena.add(copies * shape.valueDim)
      keys = arena.add(most)
      values = arena.add(most)
      numbers = arena.add(most)
      maximum = arena.add(1)
      sum = arena.add(1)
      lower = arena.add(1)
      upper = arena.add(1)
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
  private let functions = KernelTable.active.functions

  init(_ layout: Layout) throws(AttentionError) {
    self.layout = layout
    arena = try Arena(layout.arena)
  }

  private var problem: AttentionProblem { layout.problem }

  func attend(_ row: Row, _ operands: AttentionOperands) {
    let window = layout.window
    guard let weights = operands.inputs.named[window.weights.name],
      let direction = operands.inputs.named[window.direction.name]
    else { return }
    let output = arena[layout.output]
    output.update(repeating: 0, count: problem.shape.valueDim)
    let (maximum, sum) = (arena[layout.maximum], arena[layout.sum])
    (maximum.pointee, sum.pointee) = (-.infinity, 0)
    if row.visible > 0 {
      let query = query(row, operands)
      let position = window.position(
        query, among: row.visible, weights, direction, head: row.head)
      if position.isNaN {
        // Wherever it looked would be a choice.
        output.update(repeating: .nan, count: problem.shape.valueDim)
        (maximum.pointee, sum.pointee) = (.nan, .nan)
      } else {
        functions.pointee.decode_query(
          query, Int32(problem.shape.headDim), problem.scale * Float.log16e, nil,
          arena[layout.query])
        let keys = window.keys(around: position, among: row.visible)
        var first = keys.lowerBound
        while first < keys.upperBound {
          let chunk = first..<min(first + Int(ATTN_DECODE_KEYS), keys.upperBound)
          meet(chunk, around: position, row, operands)
          first = chunk.upperBound
        }
      }
    }
    finish(row, operands, SoftmaxState(maximum: maximum.pointee, sum: sum.pointee))
  }

  /// The query's row as fp32.
  private func query(_ row: Row, _ operands: AttentionOperands) -> UnsafePointer<Float> {
    var source = operands.query.rowAddress(row.batch, row.head, row.row)
    if problem.storage.query != .float32 {
      let copy = arena[layout.row]
      functions.pointee.widen(
        &source, 1, Int32(problem.shape.headDim), problem.storage.query.storage, nil, copy)
      return UnsafePointer(copy)
    }
    return source.assumingMemoryBound(to: Float.self)
  }

  private func meet(
    _ chunk: Range<Int>, around position: Double, _ row: Row, _ operands: AttentionOperands
  ) {
    let (keys, values) = (arena[layout.keys], arena[layout.values])
    let (numbers, factors) = (arena[layout.numbers], arena[layout.factors])
    let kvHead = row.head / problem.shape.groupSize
    for (place, key) in chunk.enumerated() {
      keys[place] = operands.key.rowAddress(row.batch, kvHead, key)
      values[place] = operands.value.rowAddress(row.batch, kvHead, key)
      numbers[place] = Int32(key)
      let distance = (Double(key) - position) / Double(layout.window.width)
      factors[place] = Float(-2 * distance * distance)
    }
    let lanes = KernelTable.active.vectorLanes
    let whole = (chunk.count + lanes - 1) / lanes * lanes
    (factors + chunk.count).update(repeating: 0, count: whole - chunk.count)
    functions.pointee.exp_row(factors, Int64(whole), factors)
    var storage = problem.storage.keyValue
    if !storage.isFloatingPoint {
      keys.widen(
        count: chunk.count, columns: problem.shape.headDim, storage: storage.storage,
        columnScales: operands.key.channelScales(row.batch, kvHead),
        into: arena[layout.keyCopies], functions)
      values.widen(
        count: chunk.count, columns: problem.shape.valueDim, storage: storage.storage,
        columnScales: operands.value.channelScales(row.batch, kvHead),
        into: arena[layout.valueCopies], functions)
      storage = .float32
    }
    let count = Int32(chunk.count)
    let (lower, upper) = (arena[layout.lower], arena[layout.upper])
    (lower.pointee, upper.pointee) = (0, count)
    withUnsafePointer(to: row.bias ?? attn_row_bias()) { bias in
      var state = attn_decode(
        storage: storage.storage, rows: 1, head_dim: Int32(problem.shape.headDim),
        value_dim: Int32(problem.shape.valueDim), softcap: problem.log16Softcap,
        queries: arena[layout.query], query_stride: Int32(layout.queryStride), factor: 1,
        scores: arena[layout.scores], output: arena[layout.output], maxima: arena[layout.maximum],
        sums: arena[layout.sum],
        biases: row.bias == nil ? nil : bias)
      var met = attn_decode_chunk(
        keys: keys, values: values, numbers: numbers, factors: factors, base: 0, first: 0,
        count: count, available: count, prefetch_distance: 8, lower: lower, upper: upper)
      functions.pointee.decode(&state, &met)
    }
  }

  private func finish(_ row: Row, _ operands: AttentionOperands, _ softmax: SoftmaxState) {
    var state = softmax
    if let sinks = problem.scoring.sinkLogits {
      _ = state.add(sink: sinks[row.head] * Float.log16e)
    }
    let (columns, out) = (problem.shape.valueDim, arena[layout.output])
    for column in 0..<columns { out[column] *= state.factor }
    var source = UnsafePointer(out)
    var target = operands.output.rowAddress(row.batch, row.head, row.row)
    functions.pointee.narrow(&source, 1, Int32(columns), problem.storage.output.storage, &target)
    operands.logSumExp?.row(row.batch, row.head, row.row)[0] = state.naturalLogSumExp
  }
}
