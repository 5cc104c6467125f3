import CAttentionKernels
import COpenBLAS
import MachineTopology
import RealModule

/// Attention through a stored score matrix and OpenBLAS.
///
/// Heads one after the other; the row blocks of a head are dealt to the workers. Each worker calls
/// sgemm on its own block with one BLAS thread: several threads inside OpenBLAS 0.3.21 can corrupt
/// each other's results when several workers call it, and would oversubscribe the cores anyway.
final class MaterialisedPlan: AttentionPlan, TeamJob, @unchecked Sendable {
  let problem: AttentionProblem
  let workspaceBytes: Int
  private let team: WorkerTeam
  private let functions = KernelTable.active.functions
  private let blockRows: Int
  /// `[nQ][nKV]`, one head's scores, then its weights.
  private let scores: AlignedFloats
  /// `[threads][blockRows]` factors of the rows in work.
  private let factors: AlignedFloats
  private let queue = TaskQueue()
  // Set for the time of a run; read by all workers.
  private var operands: AttentionOperands?
  private var batch = 0
  private var head = 0

  /// Rows a block takes. sgemm copies all keys and values for every block, so blocks are large,
  /// but a short head still makes some blocks for several workers. Independent of the thread
  /// count, so that results are too.
  private static func blockRows(_ shape: AttentionShape) -> Int {
    min(max((shape.queryLength / 8 + 15) / 16 * 16, 16), 256)
  }

  static func workspaceBytes(
    _ shape: AttentionShape, threads: Int
  ) throws(AttentionError) -> Int {
    // Both lengths are below 2^31: the product cannot overflow 64 bits.
    4 * shape.queryLength * shape.keyLength + 4 * threads * blockRows(shape)
  }

  init(_ problem: AttentionProblem, team: WorkerTeam) throws(AttentionError) {
    let shape = problem.shape
    self.problem = problem
    self.team = team
    blockRows = MaterialisedPlan.blockRows(shape)
    workspaceBytes = try MaterialisedPlan.workspaceBytes(shape, threads: team.threadCount)
    scores = try AlignedFloats(
      count: shape.queryLength * shape.keyLength, for: "score matrix", touched: true)
    factors = try AlignedFloats(
      count: team.threadCount * blockRows, for: "workspace", touched: true)
    openblas_set_num_threads(1)
  }

  func execute(_ operands: AttentionOperands) {
    self.operands = operands
    let shape = problem.shape
    for batch in 0..<shape.batch {
      for head in 0..<shape.heads {
        (self.batch, self.head) = (batch, head)
        queue.reset(count: (shape.queryLength + blockRows - 1) / blockRows)
        team.run(self)
      }
    }
    self.operands = nil
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
      var maximum = -Float.infinity
      let sum = functions.pointee.softmax_row(
        scores, Int64(visible(row)), problem.scale * Float.log2e, &maximum)
      scores.advanced(by: visible(row)).update(repeating: 0, count: columns - visible(row))
      factors[row - rows.lowerBound] = sum == 0 ? 0 : 1 / sum
      operands.logSumExp?.row(batch, head, row)[0] =
        (maximum + Float.log2(sum)) * Float.ln2
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
  /// output. Only the keys some rows of the block see and others do not can do that; when one of
  /// them is not finite, each row is multiplied over its own keys alone.
  private func multiplyValues(
    _ operands: AttentionOperands, rows: Range<Int>, columns: Int, visible: (Int) -> Int
  ) {
    let shape = problem.shape
    let kvHead = head / shape.groupSize
    let values = operands.value.row(batch, kvHead, 0)
    let weights = scores.base + rows.lowerBound * shape.keyLength
    let output = operands.output.row(batch, head, rows.lowerBound)
    let columnsOfAll = visible(rows.lowerBound)
    let edgeIsFinite = (columnsOfAll..<columns).allSatisfy { key in
      let row = operands.value.row(batch, kvHead, key)
      return (0..<shape.valueDim).allSatisfy { row[$0].isFinite }
    }
    if edgeIsFinite, columns > 0 {
      cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(rows.count), Int32(shape.valueDim),
        Int32(columns), 1, weights, Int32(shape.keyLength), values,
        operands.value.leadingDimension, 0, output, operands.output.reading.leadingDimension)
      return
    }
    for row in rows {
      let output = operands.output.row(batch, head, row)
      output.update(repeating: 0, count: shape.valueDim)
      if visible(row) == 0 { continue }
      cblas_sgemv(
        CblasRowMajor, CblasTrans, Int32(visible(row)), Int32(shape.valueDim), 1, values,
        operands.value.leadingDimension, weights + (row - rows.lowerBound) * shape.keyLength, 1,
        0, output, 1)
    }
  }
}

extension TensorView {
  /// The row stride as BLAS wants it: at least a row, also where there is only one.
  fileprivate var leadingDimension: Int32 { Int32(max(rowStride, shape.columns)) }
}
