import AttentionContract
import AttentionKernels
import CAttentionKernels
import COpenBLAS
import MachineTopology
import RealModule
import Tensors

/// Attention through a stored score matrix and OpenBLAS.
///
/// Heads one after the other; the row blocks of a head are dealt to the workers. Each worker calls
/// sgemm on its own block with one BLAS thread: several threads inside OpenBLAS 0.3.21 can corrupt
/// each other's results when several workers call it, and would oversubscribe the cores anyway.
package final class MaterialisedPlan: StagedPlan, @unchecked Sendable {
  package let problem: AttentionProblem
  package let workspaceBytes: Int
  package let team: WorkerTeam
  private let visibility: LoweredVisibility
  private let functions = KernelTable.active.functions
  /// Rows of a block of each batch entry.
  private let blockSizes: [Int]
  /// Rows of the largest block.
  private let blockRows: Int
  /// `[nQ][nKV]`, one head's scores, then its weights.
  private let scores: AlignedFloats
  /// `[threads][blockRows]` factors of the rows in work.
  private let factors: AlignedFloats
  /// `[nKV][dV]` values of the head in work where some are not finite and not all rows see them.
  private let finiteValues: AlignedFloats
  /// `[nKV][d]` and `[nKV][dV]` keys and values of the key/value head in work, where they are not
  /// stored as fp32.
  private let wideKeys: AlignedFloats
  private let wideValues: AlignedFloats
  /// `[threads][blockRows][d + dV]` scaled queries of the rows in work, and their output where it is
  /// not stored as fp32.
  private let rowCopies: AlignedFloats
  private let scale: ScoreScale
  private let queue = TaskQueue()
  // Set for the time of a run; read by all workers.
  package var operands: AttentionOperands?
  private var batch = 0
  private var head = 0
  private var replacesValues = false
  private var isWidening = false

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
    let shape = problem.shape
    // AttentionShape keeps the products of its sizes within 64 bits.
    return 4
      * (shape.queryLength * shape.keyLength + threads * blockRows(shape.queryLength)
        + finiteValueCount(problem, visibility)
        + wideCount(problem, columns: shape.headDim + shape.valueDim)
        + rowCopyCount(problem, threads: threads))
  }

  private static func wideCount(_ problem: AttentionProblem, columns: Int) -> Int {
    problem.storage.keyValue == .float32 ? 0 : problem.shape.keyLength * columns
  }

  private static func rowCopyColumns(_ problem: AttentionProblem) -> Int {
    problem.shape.headDim + (problem.storage.output == .float32 ? 0 : problem.shape.valueDim)
  }

  private static func rowCopyCount(_ problem: AttentionProblem, threads: Int) -> Int {
    threads * blockRows(problem.shape.queryLength) * rowCopyColumns(problem)
  }

  private static func finiteValueCount(
    _ problem: AttentionProblem, _ visibility: LoweredVisibility
  ) -> Int {
    visibility.differsByRow ? problem.shape.keyLength * problem.shape.valueDim : 0
  }

  /// - Parameter visibility: what queries see, under no pattern.
  package init(
    _ problem: AttentionProblem, _ visibility: LoweredVisibility, team: WorkerTeam
  ) throws(AttentionError) {
    let shape = problem.shape
    self.visibility = visibility
    self.problem = problem
    self.team = team
    scale = ScoreScale(problem.scale)
    blockSizes = visibility.patterns.map {
      MaterialisedPlan.blockRows($0.geometry.queryLength)
    }
    blockRows = MaterialisedPlan.blockRows(shape.queryLength)
    workspaceBytes = MaterialisedPlan.workspaceBytes(
      problem, visibility, threads: team.threadCount)
    scores = try AlignedFloats(
      count: shape.queryLength * shape.keyLength, for: "score matrix", touched: true)
    factors = try AlignedFloats(
      count: team.threadCount * blockRows, for: "workspace", touched: true)
    finiteValues = try AlignedFloats(
      count: MaterialisedPlan.finiteValueCount(problem, visibility), for: "workspace")
    wideKeys = try AlignedFloats(
      count: MaterialisedPlan.wideCount(problem, columns: shape.headDim), for: "workspace",
      touched: true)
    wideValues = try AlignedFloats(
      count: MaterialisedPlan.wideCount(problem, columns: shape.valueDim), for: "workspace",
      touched: true)
    rowCopies = try AlignedFloats(
      count: MaterialisedPlan.rowCopyCount(problem, threads: team.threadCount),
      for: "workspace", touched: true)
    openblas_set_num_threads(1)
  }

  /// Of the batch entry in work.
  private var geometry: MaskGeometry { visibility.patterns[batch].geometry }

  private var widens: Bool { problem.storage.keyValue != .float32 }

  /// Stages of a key/value head: one to bring it to fp32 where it is not, and one for each of its
  /// query heads, which share the score matrix.
  private var stagesPerGroup: Int { problem.shape.groupSize + (widens ? 1 : 0) }

  package var stageCount: Int { problem.shape.batch * problem.shape.kvHeads * stagesPerGroup }

  package func begin(stage: Int) {
    let shape = problem.shape
    let (group, step) = stage.quotientAndRemainder(dividingBy: stagesPerGroup)
    let member = widens ? max(step - 1, 0) : step
    (batch, head) = (group * shape.groupSize + member).quotientAndRemainder(
      dividingBy: shape.heads)
    isWidening = widens && step == 0
    if isWidening {
      let keys = geometry.keyLength
      queue.reset(
        count: (keys + MaterialisedPlan.widenedRows - 1) / MaterialisedPlan.widenedRows)
      return
    }
    if let operands { replacesValues = copyFiniteValues(values(operands)) }
    queue.reset(count: blockCount)
  }

  /// Blocks of a head of the batch entry in work.
  private var blockCount: Int {
    (geometry.queryLength + blockSizes[batch] - 1) / blockSizes[batch]
  }

  package func work(worker: Int) {
    guard let operands else { return }
    if isWidening {
      while let task = queue.next() { widen(operands, task: task) }
      return
    }
    let blocks = blockCount
    let queryLength = geometry.queryLength
    while let block = queue.next() {
      // The last rows of a causal triangle cost most: deal them first.
      let first = (blocks - 1 - block) * blockSizes[batch]
      run(
        operands, rows: first..<min(first + blockSizes[batch], queryLength), worker: worker)
    }
  }

  private func widen(_ operands: AttentionOperands, task: Int) {
    let first = task * MaterialisedPlan.widenedRows
    let keys =
      first..<min(
        first + MaterialisedPlan.widenedRows, geometry.keyLength)
    let kvHead = head / problem.shape.groupSize
    operands.key.widen(
      keys, batch, kvHead, into: wideKeys.base + first * problem.shape.headDim, functions)
    operands.value.widen(
      keys, batch, kvHead, into: wideValues.base + first * problem.shape.valueDim, functions)
  }

  private func keys(_ operands: AttentionOperands) -> RowMatrix {
    widens
      ? RowMatrix(wideKeys.base, stride: problem.shape.headDim)
      : RowMatrix(operands.key, batch, head / problem.shape.groupSize)
  }

  private func values(_ operands: AttentionOperands) -> RowMatrix {
    widens
      ? RowMatrix(wideValues.base, stride: problem.shape.valueDim)
      : RowMatrix(operands.value, batch, head / problem.shape.groupSize)
  }

  private func run(_ operands: AttentionOperands, rows: Range<Int>, worker: Int) {
    let shape = problem.shape
    let output = operands.output
    let copies =
      rowCopies.base + worker * blockRows * MaterialisedPlan.rowCopyColumns(problem)
    operands.query.widen(rows, batch, head, into: copies, functions)
    functions.pointee.scale_row(copies, Int64(rows.count * shape.headDim), scale.ofQueries)
    let query = RowMatrix(copies, stride: shape.headDim)
    if output.reading.elementType == .float32 {
      attend(
        operands, rows: rows, worker: worker, query: query,
        output: RowMatrix(output.reading, batch, head, from: rows.lowerBound))
      return
    }
    let finished = RowMatrix(copies + blockRows * shape.headDim, stride: shape.valueDim)
    attend(operands, rows: rows, worker: worker, query: query, output: finished)
    finished.narrow(
      count: rows.count, into: output, batch, head, from: rows.lowerBound, functions)
  }

  /// - Parameters:
  ///   - query: scaled fp32 queries of the block's rows.
  ///   - output: takes their output.
  private func attend(
    _ operands: AttentionOperands, rows: Range<Int>, worker: Int, query: RowMatrix,
    output: RowMatrix
  ) {
    let shape = problem.shape
    let geometry = geometry
    let factors = factors.base + worker * blockRows
    let visible = { (row: Int) in geometry.visible(from: row + geometry.offset).upperBound }
    let columns = visible(rows.upperBound - 1)
    let block = scores.base + rows.lowerBound * shape.keyLength
    if columns > 0 {
      let keys = keys(operands)
      cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasTrans, Int32(rows.count), Int32(columns),
        Int32(shape.headDim), 1, query.base, query.leadingDimension, keys.base,
        keys.leadingDimension, 0, block, Int32(shape.keyLength))
    }
    for row in rows {
      let scores = block + (row - rows.lowerBound) * shape.keyLength
      let count = Int64(visible(row))
      var scale = scale.ofProducts
      if problem.scoring.softcap != nil {
        functions.pointee.softcap_row(scores, count, scale, problem.log16Softcap)
        scale = 1
      }
      if let rule = visibility.rule {
        var bias = rule.row(batch, head, row, position: row + geometry.offset)
        functions.pointee.bias_row(scores, count, scale, .log16e, &bias)
        scale = 1
      }
      var maximum = -Float.infinity
      let sum = functions.pointee.softmax_row(scores, count, scale, &maximum)
      scores.advanced(by: visible(row)).update(repeating: 0, count: columns - visible(row))
      var state = SoftmaxState(maximum: maximum, sum: sum)
      if let sinks = problem.scoring.sinkLogits { _ = state.add(sink: sinks[head] * Float.log16e) }
      factors[row - rows.lowerBound] = state.factor
      operands.logSumExp?.row(batch, head, row)[0] = state.naturalLogSumExp
    }
    multiplyValues(
      values(operands), rows: rows, columns: columns, visible: visible, output: output)
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
    _ values: RowMatrix, rows: Range<Int>, columns: Int, visible: (Int) -> Int,
    output: RowMatrix
  ) {
    let shape = problem.shape
    let weights = scores.base + rows.lowerBound * shape.keyLength
    if columns == 0 {
      for index in 0..<rows.count {
        output.row(index).update(repeating: 0, count: shape.valueDim)
      }
      return
    }
    let factor =
      replacesValues ? RowMatrix(finiteValues.base, stride: shape.valueDim) : values
    cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(rows.count), Int32(shape.valueDim),
      Int32(columns), 1, weights, Int32(shape.keyLength), factor.base, factor.leadingDimension,
      0, output.base, output.leadingDimension)
    if !replacesValues { return }
    for key in partlyVisible where key < columns && !isFinite(values.row(key)) {
      let value = values.row(key)
      for row in rows where visibility.shows(key, batch, head, row) {
        let weight = weights[(row - rows.lowerBound) * shape.keyLength + key]
        let output = output.row(row - rows.lowerBound)
        for column in 0..<shape.valueDim { output[column] += weight * value[column] }
      }
    }
  }

  /// Keys of the batch entry in work that some query rows see and others do not.
  private var partlyVisible: Range<Int> {
    let geometry = geometry
    if geometry.queryLength == 0 { return 0..<0 }
    if visibility.rule?.axes != nil { return 0..<geometry.keyLength }
    let last = geometry.offset + geometry.queryLength - 1
    return geometry.visible(from: geometry.offset)
      .upperBound..<geometry.visible(from: last)
      .upperBound
  }

  private func isFinite(_ value: UnsafePointer<Float>) -> Bool {
    for column in 0..<problem.shape.valueDim where !value[column].isFinite { return false }
    return true
  }

  /// Copies the head's values with zeros for the partly visible keys that hold a NaN or an
  /// infinity; false, and no copy, when there are none.
  private func copyFiniteValues(_ values: RowMatrix) -> Bool {
    let width = problem.shape.valueDim
    let partlyVisible = partlyVisible
    if partlyVisible.allSatisfy({ isFinite(values.row($0)) }) { return false }
    for key in 0..<geometry.keyLength {
      let copy = finiteValues.base + key * width
      if partlyVisible.contains(key), !isFinite(values.row(key)) {
        copy.update(repeating: 0, count: width)
      } else {
        copy.update(from: values.row(key), count: width)
      }
    }
    return true
  }
}
