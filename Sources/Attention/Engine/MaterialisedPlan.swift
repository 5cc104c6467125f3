import CAttentionKernels
import COpenBLAS
import MachineTopology
import RealModule

/// Attention through a stored score matrix and OpenBLAS.
///
/// Heads one after the other; the row blocks of a head are dealt to the workers. Each worker calls
/// sgemm on its own block with one BLAS thread: several threads inside OpenBLAS 0.3.21 can corrupt
/// each other's results when several workers call it, and would oversubscribe the cores anyway.
final class MaterialisedPlan: StagedPlan, @unchecked Sendable {
  let problem: AttentionProblem
  let workspaceBytes: Int
  let team: WorkerTeam
  private let functions = KernelTable.active.functions
  private let blockRows: Int
  /// `[nQ][nKV]`, one head's scores, then its weights.
  private let scores: AlignedFloats
  /// `[threads][blockRows]` factors of the rows in work.
  private let factors: AlignedFloats
  /// `[nKV][dV]` values of the head in work where some are not finite and not all rows see them.
  private let finiteValues: AlignedFloats
  private let queue = TaskQueue()
  // Set for the time of a run; read by all workers.
  var operands: AttentionOperands?
  private var batch = 0
  private var head = 0
  private var replacesValues = false

  /// Rows a block takes. sgemm copies all keys and values for every block, so blocks are large,
  /// but a short head still makes some blocks for several workers. Independent of the thread
  /// count, so that results are too.
  private static func blockRows(_ shape: AttentionShape) -> Int {
    min(max((shape.queryLength / 8 + 15) / 16 * 16, 16), 256)
  }

  static func workspaceBytes(_ problem: AttentionProblem, threads: Int) -> Int {
    let shape = problem.shape
    // AttentionShape keeps the products of its sizes within 64 bits.
    return 4
      * (shape.queryLength * shape.keyLength + threads * blockRows(shape)
        + finiteValueCount(problem))
  }

  private static func finiteValueCount(_ problem: AttentionProblem) -> Int {
    problem.causal || problem.mask != nil || problem.bias != nil
      ? problem.shape.keyLength * problem.shape.valueDim : 0
  }

  init(_ problem: AttentionProblem, team: WorkerTeam) throws(AttentionError) {
    let shape = problem.shape
    self.problem = problem
    self.team = team
    blockRows = MaterialisedPlan.blockRows(shape)
    workspaceBytes = MaterialisedPlan.workspaceBytes(problem, threads: team.threadCount)
    scores = try AlignedFloats(
      count: shape.queryLength * shape.keyLength, for: "score matrix", touched: true)
    factors = try AlignedFloats(
      count: team.threadCount * blockRows, for: "workspace", touched: true)
    finiteValues = try AlignedFloats(
      count: MaterialisedPlan.finiteValueCount(problem), for: "workspace")
    openblas_set_num_threads(1)
  }

  /// One a head: heads share the score matrix.
  var stageCount: Int { problem.shape.batch * problem.shape.heads }

  func begin(stage: Int) {
    let shape = problem.shape
    (batch, head) = stage.quotientAndRemainder(dividingBy: shape.heads)
    if let operands { replacesValues = copyFiniteValues(operands) }
    queue.reset(count: (shape.queryLength + blockRows - 1) / blockRows)
  }

  func work(worker: Int) {
    guard let operands else { return }
    let blocks = (problem.shape.queryLength + blockRows - 1) / blockRows
    while let block = queue.next() {
      // The last rows of a causal triangle cost most: deal them first.
      let first = (blocks - 1 - block) * blockRows
      run(
        operands, rows: first..<min(first + blockRows, problem.shape.queryLength),
        factors: factors.base + worker * blockRows)
    }
  }

  private func run(
    _ operands: AttentionOperands, rows: Range<Int>, factors: UnsafeMutablePointer<Float>
  ) {
    let shape = problem.shape
    let geometry = problem.geometry(batch: batch)
    let kvHead = head / shape.groupSize
    let visible = { (row: Int) in geometry.visible(from: row + geometry.offset).upperBound }
    let columns = visible(rows.upperBound - 1)
    let block = scores.base + rows.lowerBound * shape.keyLength
    if columns > 0 {
      cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasTrans, Int32(rows.count), Int32(columns),
        Int32(shape.headDim), 1, operands.query.row(batch, head, rows.lowerBound),
        operands.query.leadingDimension, operands.key.row(batch, kvHead, 0),
        operands.key.leadingDimension, 0, block, Int32(shape.keyLength))
    }
    for row in rows {
      let scores = block + (row - rows.lowerBound) * shape.keyLength
      let count = Int64(visible(row))
      var scale = problem.scale * Float.log2e
      if let softcap = problem.softcap {
        functions.pointee.softcap_row(scores, count, scale, softcap * Float.log2e)
        scale = 1
      }
      if PanelMask.isNeeded(problem) {
        problem.addBias(
          to: scores, count: visible(row), scale: scale, unit: .log2e, batch: batch, head: head,
          row: row, functions: functions)
        scale = 1
      }
      var maximum = -Float.infinity
      let sum = functions.pointee.softmax_row(scores, count, scale, &maximum)
      scores.advanced(by: visible(row)).update(repeating: 0, count: columns - visible(row))
      var state = SoftmaxState(maximum: maximum, sum: sum)
      if let sinks = problem.sinkLogits { _ = state.add(sink: sinks[head] * Float.log2e) }
      factors[row - rows.lowerBound] = state.factor
      operands.logSumExp?.row(batch, head, row)[0] = state.naturalLogSumExp
    }
    multiplyValues(operands, rows: rows, columns: columns, visible: visible)
    for row in rows {
      functions.pointee.scale_row(
        operands.output.row(batch, head, row), Int64(shape.valueDim),
        factors[row - rows.lowerBound])
    }
  }

  /// Output rows = weights times values.
  ///
  /// A weight of zero times a NaN or infinite value would be NaN: a masked key must not reach the
  /// output. Where such values lie among keys that not all rows see, the product takes zeros in
  /// their place, and each row that does see them adds them afterwards; the other rows keep every
  /// bit.
  private func multiplyValues(
    _ operands: AttentionOperands, rows: Range<Int>, columns: Int, visible: (Int) -> Int
  ) {
    let shape = problem.shape
    let kvHead = head / shape.groupSize
    let weights = scores.base + rows.lowerBound * shape.keyLength
    if columns == 0 {
      for row in rows {
        operands.output.row(batch, head, row).update(repeating: 0, count: shape.valueDim)
      }
      return
    }
    cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(rows.count), Int32(shape.valueDim),
      Int32(columns), 1, weights, Int32(shape.keyLength),
      replacesValues ? UnsafePointer(finiteValues.base) : operands.value.row(batch, kvHead, 0),
      replacesValues ? Int32(shape.valueDim) : operands.value.leadingDimension, 0,
      operands.output.row(batch, head, rows.lowerBound),
      operands.output.reading.leadingDimension)
    if !replacesValues { return }
    for key in partlyVisible where key < columns && !isFinite(operands.value, kvHead, key) {
      let value = operands.value.row(batch, kvHead, key)
      for row in rows where key < visible(row) && problem.shows(key, batch, head, row) {
        let weight = weights[(row - rows.lowerBound) * shape.keyLength + key]
        let output = operands.output.row(batch, head, row)
        for column in 0..<shape.valueDim { output[column] += weight * value[column] }
      }
    }
  }

  /// Keys of the batch entry in work that some query rows see and others do not.
  private var partlyVisible: Range<Int> {
    let geometry = problem.geometry(batch: batch)
    if problem.mask != nil || problem.bias != nil { return 0..<geometry.keyLength }
    let last = geometry.offset + geometry.queryLength - 1
    return geometry.visible(from: geometry.offset)
      .upperBound..<geometry.visible(from: last)
      .upperBound
  }

  private func isFinite(_ values: TensorView, _ kvHead: Int, _ key: Int) -> Bool {
    let row = values.row(batch, kvHead, key)
    for column in 0..<problem.shape.valueDim where !row[column].isFinite { return false }
    return true
  }

  /// Copies the head's values with zeros for the partly visible keys that hold a NaN or an
  /// infinity; false, and no copy, when there are none.
  private func copyFiniteValues(_ operands: AttentionOperands) -> Bool {
    let kvHead = head / problem.shape.groupSize
    let width = problem.shape.valueDim
    let partlyVisible = partlyVisible
    if partlyVisible.allSatisfy({ isFinite(operands.value, kvHead, $0) }) { return false }
    for key in 0..<problem.shape.keyLength {
      let copy = finiteValues.base + key * width
      if partlyVisible.contains(key), !isFinite(operands.value, kvHead, key) {
        copy.update(repeating: 0, count: width)
      } else {
        copy.update(from: operands.value.row(batch, kvHead, key), count: width)
      }
    }
    return true
  }
}

extension TensorView {
  /// The row stride as BLAS wants it: at least a row. Where there is only one row its stride means
  /// nothing and may be anything.
  fileprivate var leadingDimension: Int32 {
    Int32(shape.rows == 1 ? shape.columns : rowStride)
  }
}
