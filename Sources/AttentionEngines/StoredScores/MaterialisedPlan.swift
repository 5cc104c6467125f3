import AttentionContract
import AttentionKernels
import CAttentionKernels
import COpenBLAS
import MachineTopology
import RealModule
import Synchronization
import Tensors

/// Attention through a stored score matrix and OpenBLAS.
///
/// Heads one after the other; the row blocks of a head are dealt to the workers. Each worker calls
/// sgemm on its own block with one BLAS thread: several threads inside OpenBLAS 0.3.21 can corrupt
/// each other's results when several workers call it, and would oversubscribe the cores anyway.
package final class MaterialisedPlan: StagedPlan {
  package let problem: AttentionProblem
  package let workspaceBytes: Int
  package let team: WorkerTeam
  private let visibility: LoweredVisibility
  private let kernels = KernelTable.active
  /// Rows of a block of each batch entry.
  private let blockSizes: [Int]
  /// Rows of the largest block.
  private let blockRows: Int
  package let job = StageJob()
  private let layout: Layout
  private let arena: Arena
  /// `[nKV][dV]` values of the head in work where some are not finite and not all rows see them:
  /// memory that is there only once it is needed.
  private let finiteValues: Arena
  private let scale: ScoreScale
  private let queue = TaskQueue()
  /// Whether the finite values stand for those of the head in work.
  private let replacesValues = Atomic(false)

  /// Where the workspace lies.
  private struct Layout: Sendable {
    var arena = ArenaLayout()
    /// `[nQ][nKV]`, one head's scores, then its weights.
    let scores: ArenaPart<Float>
    /// `[threads][blockRows]` factors of the rows in work.
    let factors: ArenaPart<Float>
    /// `[nKV][d]` and `[nKV][dV]` keys and values of the key/value head in work, where they are not
    /// stored as fp32.
    let wideKeys: ArenaPart<Float>
    let wideValues: ArenaPart<Float>
    /// `[threads][blockRows][d + dV]` scaled queries of the rows in work, and their output where it is
    /// not stored as fp32.
    let rowCopies: ArenaPart<Float>
    var finite = ArenaLayout()
    let finiteValues: ArenaPart<Float>

    init(_ problem: AttentionProblem, _ visibility: LoweredVisibility, threads: Int) {
      // AttentionShape keeps the products of its sizes within 64 bits.
      let shape = problem.shape
      let rows = threads * MaterialisedPlan.blockRows(shape.queryLength)
      let wide = problem.storage.keyValue == .float32 ? 0 : shape.keyLength
      scores = arena.add(shape.queryLength * shape.keyLength)
      factors = arena.add(rows)
      wideKeys = arena.add(wide * shape.headDim)
      wideValues = arena.add(wide * shape.valueDim)
      rowCopies = arena.add(rows * MaterialisedPlan.rowCopyColumns(problem))
      finiteValues = finite.add(
        visibility.differsByRow ? shape.keyLength * shape.valueDim : 0)
    }
  }

  /// A head's share of a run.
  private struct Step {
    let operands: AttentionOperands
    let batch: Int
    let head: Int
    /// Whether it only brings keys and values to fp32.
    let isWidening: Bool
    let geometry: MaskGeometry
  }

  /// Key or value rows that a task brings to fp32.
  private static let widenedRows = 512

  /// Rows a block takes. sgemm copies all keys and values for every block, so blocks are large,
  /// but a short head still makes some blocks for several workers. Independent of the thread
  /// count and of other batch entries, so that results are too.
  private static func blockRows(_ queryLength: Int) -> Int {
    min(max((queryLength / 8 + 15) / 16 * 16, 16), 256)
  }

  package static func workspaceBytes(
    _ problem: AttentionProblem, _ visibility: LoweredVisibility, threads: Int
  ) -> Int {
    let layout = Layout(problem, visibility, threads: threads)
    return layout.arena.bytes + layout.finite.bytes
  }

  private static func rowCopyColumns(_ problem: AttentionProblem) -> Int {
    problem.shape.headDim + (problem.storage.output == .float32 ? 0 : problem.shape.valueDim)
  }

  /// - Parameter visibility: what queries see, under no pattern.
  package init(
    _ problem: AttentionProblem, _ visibility: LoweredVisibility, team: WorkerTeam
  ) throws(AttentionError) {
    self.visibility = visibility
    self.problem = problem
    self.team = team
    scale = ScoreScale(problem.scale)
    blockSizes = visibility.patterns.map {
      MaterialisedPlan.blockRows($0.geometry.queryLength)
    }
    blockRows = MaterialisedPlan.blockRows(problem.shape.queryLength)
    layout = Layout(problem, visibility, threads: team.threadCount)
    workspaceBytes = layout.arena.bytes + layout.finite.bytes
    arena = try Arena(layout.arena, for: "score matrix")
    finiteValues = try Arena(layout.finite, touched: false)
    openblas_set_num_threads(1)
  }

  private var functions: UnsafePointer<attn_kernels> { kernels.functions }

  private var widens: Bool { problem.storage.keyValue != .float32 }

  /// Stages of a key/value head: one to bring it to fp32 where it is not, and one for each of its
  /// query heads, which share the score matrix.
  private var stagesPerGroup: Int { problem.shape.groupSize + (widens ? 1 : 0) }

  package var stageCount: Int { problem.shape.batch * problem.shape.kvHeads * stagesPerGroup }

  private func step(_ context: StageContext) -> Step {
    let shape = problem.shape
    let (group, step) = context.stage.quotientAndRemainder(dividingBy: stagesPerGroup)
    let member = widens ? max(step - 1, 0) : step
    let (batch, head) = (group * shape.groupSize + member).quotientAndRemainder(
      dividingBy: shape.heads)
    return Step(
      operands: context.operands, batch: batch, head: head, isWidening: widens && step == 0,
      geometry: visibility.patterns[batch].geometry)
  }

  package func begin(_ context: StageContext) {
    let step = step(context)
    if step.isWidening {
      let size = MaterialisedPlan.widenedRows
      return queue.reset(count: (step.geometry.keyLength + size - 1) / size)
    }
    replacesValues.store(copyFiniteValues(step), ordering: .relaxed)
    queue.reset(count: blockCount(step))
  }

  private func blockCount(_ step: Step) -> Int {
    (step.geometry.queryLength + blockSizes[step.batch] - 1) / blockSizes[step.batch]
  }

  package func work(_ context: StageContext, worker: Int) {
    let step = step(context)
    if step.isWidening {
      while let task = queue.next() { widen(step, task: task) }
      return
    }
    let blocks = blockCount(step)
    let size = blockSizes[step.batch]
    while let block = queue.next() {
      // The last rows of a causal triangle cost most: deal them first.
      let first = (blocks - 1 - block) * size
      run(step, rows: first..<min(first + size, step.geometry.queryLength), worker: worker)
    }
  }

  private func widen(_ step: Step, task: Int) {
    let first = task * MaterialisedPlan.widenedRows
    let keys =
      first..<min(first + MaterialisedPlan.widenedRows, step.geometry.keyLength)
    let kvHead = step.head / problem.shape.groupSize
    step.operands.key.widen(
      keys, step.batch, kvHead, into: arena[layout.wideKeys] + first * problem.shape.headDim,
      functions)
    step.operands.value.widen(
      keys, step.batch, kvHead, into: arena[layout.wideValues] + first * problem.shape.valueDim,
      functions)
  }

  private func keys(_ step: Step) -> RowMatrix {
    widens
      ? RowMatrix(arena[layout.wideKeys], stride: problem.shape.headDim)
      : RowMatrix(step.operands.key, step.batch, step.head / problem.shape.groupSize)
  }

  private func values(_ step: Step) -> RowMatrix {
    widens
      ? RowMatrix(arena[layout.wideValues], stride: problem.shape.valueDim)
      : RowMatrix(step.operands.value, step.batch, step.head / problem.shape.groupSize)
  }

  private func run(_ step: Step, rows: Range<Int>, worker: Int) {
    let shape = problem.shape
    let output = step.operands.output
    let copies =
      arena[layout.rowCopies] + worker * blockRows * MaterialisedPlan.rowCopyColumns(problem)
    step.operands.query.widen(rows, step.batch, step.head, into: copies, functions)
    functions.pointee.scale_row(copies, Int64(rows.count * shape.headDim), scale.ofQueries)
    let query = RowMatrix(copies, stride: shape.headDim)
    if output.reading.elementType == .float32 {
      attend(
        step, rows: rows, worker: worker, query: query,
        output: RowMatrix(output.reading, step.batch, step.head, from: rows.lowerBound))
      return
    }
    let finished = RowMatrix(copies + blockRows * shape.headDim, stride: shape.valueDim)
    attend(step, rows: rows, worker: worker, query: query, output: finished)
    finished.narrow(
      count: rows.count, into: output, step.batch, step.head, from: rows.lowerBound, functions)
  }

  /// - Parameters:
  ///   - query: scaled fp32 queries of the block's rows.
  ///   - output: takes their output.
  private func attend(
    _ step: Step, rows: Range<Int>, worker: Int, query: RowMatrix,
    output: RowMatrix
  ) {
    let shape = problem.shape
    let geometry = step.geometry
    let factors = arena[layout.factors] + worker * blockRows
    let visible = { (row: Int) in geometry.visible(from: row + geometry.offset) }
    // Both ends of what rows see move on with them.
    let columns = visible(rows.lowerBound).lowerBound..<visible(rows.upperBound - 1).upperBound
    let block = arena[layout.scores] + rows.lowerBound * shape.keyLength
    if !columns.isEmpty {
      let keys = keys(step)
      cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasTrans, Int32(rows.count), Int32(columns.count),
        Int32(shape.headDim), 1, query.base, query.leadingDimension,
        keys.row(columns.lowerBound), keys.leadingDimension, 0, block + columns.lowerBound,
        Int32(shape.keyLength))
    }
    for row in rows {
      let scores = block + (row - rows.lowerBound) * shape.keyLength
      let seen = visible(row)
      let (shown, count) = (scores + seen.lowerBound, Int64(seen.count))
      var scale = scale.ofProducts
      if problem.scoring.softcap != nil {
        functions.pointee.softcap_row(shown, count, scale, problem.log16Softcap)
        scale = 1
      }
      if let rule = visibility.rule {
        var bias = rule.row(step.batch, step.head, row, position: row + geometry.offset)
          .starting(at: seen.lowerBound)
        functions.pointee.bias_row(shown, count, scale, .log16e, &bias)
        scale = 1
      }
      var maximum = -Float.infinity
      let sum = functions.pointee.softmax_row(shown, count, scale, &maximum)
      let (before, after) = (
        seen.lowerBound - columns.lowerBound, columns.upperBound - seen.upperBound
      )
      scores.advanced(by: columns.lowerBound).update(repeating: 0, count: before)
      scores.advanced(by: seen.upperBound).update(repeating: 0, count: after)
      var state = SoftmaxState(maximum: maximum, sum: sum)
      if let sinks = problem.scoring.sinkLogits {
        _ = state.add(sink: sinks[step.head] * Float.log16e)
      }
      factors[row - rows.lowerBound] = state.factor
      step.operands.logSumExp?.row(step.batch, step.head, row)[0] = state.naturalLogSumExp
    }
    multiplyValues(step, rows: rows, columns: columns, output: output)
    for index in 0..<rows.count {
      functions.pointee.scale_row(output.row(index), Int64(shape.valueDim), factors[index])
    }
  }

  /// Output rows = weights times values.
  ///
  /// A weight of zero times a NaN or infinite value would be NaN: a masked key must not reach the
  /// output. Where such values lie among keys that not all rows see, the product takes zeros in
  /// their place, and each row that does see them adds them afterwards; the other rows keep every
  /// bit.
  private func multiplyValues(
    _ step: Step, rows: Range<Int>, columns: Range<Int>, output: RowMatrix
  ) {
    let shape = problem.shape
    let values = values(step)
    let replacesValues = replacesValues.load(ordering: .relaxed)
    let weights = arena[layout.scores] + rows.lowerBound * shape.keyLength
    if columns.isEmpty {
      for index in 0..<rows.count {
        output.row(index).update(repeating: 0, count: shape.valueDim)
      }
      return
    }
    let factor =
      replacesValues ? RowMatrix(finiteValues[layout.finiteValues], stride: shape.valueDim) : values
    cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(rows.count), Int32(shape.valueDim),
      Int32(columns.count), 1, weights + columns.lowerBound, Int32(shape.keyLength),
      factor.row(columns.lowerBound), factor.leadingDimension, 0, output.base,
      output.leadingDimension)
    if !replacesValues { return }
    for key in partlyVisible(step) where columns.contains(key) && !isFinite(values.row(key)) {
      let value = values.row(key)
      for row in rows where visibility.shows(key, step.batch, step.head, row) {
        let weight = weights[(row - rows.lowerBound) * shape.keyLength + key]
        let output = output.row(row - rows.lowerBound)
        for column in 0..<shape.valueDim { output[column] += weight * value[column] }
      }
    }
  }

  /// Keys of a batch entry, among them all that some query rows see and others do not.
  private func partlyVisible(_ step: Step) -> Range<Int> {
    let geometry = step.geometry
    if geometry.queryLength == 0 { return 0..<0 }
    if visibility.rule?.axes != nil { return 0..<geometry.keyLength }
    let first = geometry.visible(from: geometry.offset)
    let last = geometry.visible(from: geometry.offset + geometry.queryLength - 1)
    // Those before the first row's end are seen by all if the last row still sees the first of them.
    return last.lowerBound <= first.lowerBound
      ? first.upperBound..<last.upperBound : first.lowerBound..<last.upperBound
  }

  private func isFinite(_ value: UnsafePointer<Float>) -> Bool {
    for column in 0..<problem.shape.valueDim where !value[column].isFinite { return false }
    return true
  }

  /// Copies the head's values with zeros for the partly visible keys that hold a NaN or an
  /// infinity; false, and no copy, when there are none.
  private func copyFiniteValues(_ step: Step) -> Bool {
    let (values, width) = (values(step), problem.shape.valueDim)
    let partlyVisible = partlyVisible(step)
    if partlyVisible.allSatisfy({ isFinite(values.row($0)) }) { return false }
    for key in 0..<step.geometry.keyLength {
      let copy = finiteValues[layout.finiteValues] + key * width
      if partlyVisible.contains(key), !isFinite(values.row(key)) {
        copy.update(repeating: 0, count: width)
      } else {
        copy.update(from: values.row(key), count: width)
      }
    }
    return true
  }
}
