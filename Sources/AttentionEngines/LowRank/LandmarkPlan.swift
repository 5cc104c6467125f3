import AttentionContract
import AttentionKernels
import CAttentionKernels
import COpenBLAS
import MachineTopology
import RealModule
import Tensors

/// Attention through landmarks: means of segments, the softmax engine on either side, and between them a
/// small inverse in fp64.
///
/// The inverse multiplies small singular values by up to 13/4 a step: in fp32 their roundings would grow
/// with them. Heads are dealt to the workers, each with one BLAS thread, as in `MaterialisedPlan`; what a
/// head gets does not depend on who has it.
final class LandmarkPlan: StagedPlan {
  let problem: AttentionProblem
  let team: WorkerTeam
  let job = StageJob()
  let workspaceBytes: Int
  private let layout: LandmarkLayout
  private let arena: Arena
  private let scratch: PerWorker<LandmarkScratch>
  private let gathering: any StagedPlan
  private let spreading: any StagedPlan
  private let queue = TaskQueue()

  init(_ layout: LandmarkLayout, team: WorkerTeam) throws(AttentionError) {
    problem = layout.problem
    self.team = team
    self.layout = layout
    gathering = try SoftmaxEngine().stagedPlan(for: layout.gathering, on: team) { DensePattern($0) }
    spreading = try SoftmaxEngine().stagedPlan(for: layout.spreading, on: team) { DensePattern($0) }
    workspaceBytes =
      layout.ownBytes + gathering.workspaceBytes + spreading.workspaceBytes
    arena = try Arena(layout.shared, for: "landmarks")
    scratch = try PerWorker(team.threadCount) { () throws(AttentionError) -> LandmarkScratch in
      try LandmarkScratch(layout)
    }
    openblas_set_num_threads(1)
  }

  private var shape: AttentionShape { problem.shape }

  private enum Phase {
    /// Landmarks: heads of queries, then heads of keys.
    case average
    case gather(Int)
    case invert
    case spread(Int)
  }

  var stageCount: Int { 2 + gathering.stageCount + spreading.stageCount }

  private func phase(_ stage: Int) -> Phase {
    if stage == 0 { return .average }
    if stage <= gathering.stageCount { return .gather(stage - 1) }
    let rest = stage - gathering.stageCount - 1
    return rest == 0 ? .invert : .spread(rest - 1)
  }

  private func part<Element>(
    _ part: ArenaPart<Element>, _ batch: Int, _ head: Int, columns: Int
  ) -> UnsafeMutablePointer<Element> {
    arena[part] + (batch * shape.heads + head) * layout.most * columns
  }

  private func view(_ part: ArenaPart<Float>, columns: Int) -> MutableTensorView {
    MutableTensorView(
      arena[part],
      shape: TensorShape(unchecked: shape.batch, shape.heads, layout.most, columns))
  }

  private func gathering(_ context: StageContext, _ stage: Int) -> StageContext {
    let operands = context.operands
    return StageContext(
      operands: AttentionOperands(
        query: view(layout.queries, columns: shape.headDim).reading, key: operands.key,
        value: operands.value, output: view(layout.values, columns: shape.valueDim)),
      stage: stage)
  }

  private func spreading(_ context: StageContext, _ stage: Int) -> StageContext {
    let operands = context.operands
    return StageContext(
      operands: AttentionOperands(
        query: operands.query, key: view(layout.keys, columns: shape.headDim).reading,
        value: view(layout.values, columns: shape.valueDim).reading, output: operands.output),
      stage: stage)
  }

  func begin(_ context: StageContext) {
    switch phase(context.stage) {
    case .average: queue.reset(count: shape.batch * (shape.heads + shape.kvHeads))
    case .gather(let stage): gathering.begin(gathering(context, stage))
    case .invert: queue.reset(count: shape.batch * shape.heads)
    case .spread(let stage): spreading.begin(spreading(context, stage))
    }
  }

  func work(_ context: StageContext, worker: Int) {
    switch phase(context.stage) {
    case .average:
      while let task = queue.next() { average(task, context.operands, scratch[worker]) }
    case .gather(let stage): gathering.work(gathering(context, stage), worker: worker)
    case .invert:
      while let task = queue.next() {
        let (batch, head) = task.quotientAndRemainder(dividingBy: shape.heads)
        scratch[worker].invert(
          layout.counts[batch], part(layout.queries, batch, head, columns: shape.headDim),
          part(layout.keys, batch, head, columns: shape.headDim),
          values: part(layout.values, batch, head, columns: shape.valueDim))
        writeLogSumExp(context.operands, batch, head)
      }
    case .spread(let stage): spreading.work(spreading(context, stage), worker: worker)
    }
  }

  private func average(_ task: Int, _ operands: AttentionOperands, _ scratch: LandmarkScratch) {
    let (batch, place) = task.quotientAndRemainder(dividingBy: shape.heads + shape.kvHeads)
    let geometry = problem.geometry(batch: batch)
    let count = layout.counts[batch]
    if place < shape.heads {
      return scratch.average(
        operands.query, batch, place, rows: geometry.queryLength, count: count,
        into: part(layout.queries, batch, place, columns: shape.headDim))
    }
    // Each query head has landmarks of keys of its own, since it has values of its own for them.
    let kvHead = place - shape.heads
    let group = kvHead * shape.groupSize..<(kvHead + 1) * shape.groupSize
    let first = part(layout.keys, batch, group.lowerBound, columns: shape.headDim)
    scratch.average(
      operands.key, batch, kvHead, rows: geometry.keyLength, count: count, into: first)
    for head in group.dropFirst() {
      part(layout.keys, batch, head, columns: shape.headDim)
        .update(from: first, count: count * shape.headDim)
    }
  }

  /// There is no denominator of a row to tell: 0, as of others without one.
  private func writeLogSumExp(_ operands: AttentionOperands, _ batch: Int, _ head: Int) {
    guard let logSumExp = operands.logSumExp else { return }
    for row in 0..<problem.geometry(batch: batch).queryLength {
      logSumExp.row(batch, head, row)[0] = layout.counts[batch] == 0 ? -.infinity : 0
    }
  }
}

/// One worker's memory, and what it does with a head.
final class LandmarkScratch {
  private let shape: AttentionShape
  private let iterations: Int
  private let scale: Double
  private let parts: LandmarkLayout.Scratch
  private let arena: Arena
  private let functions = KernelTable.active.functions

  init(_ layout: LandmarkLayout) throws(AttentionError) {
    shape = layout.problem.shape
    iterations = layout.shape.iterations
    scale = Double(layout.problem.scale)
    parts = layout.scratch
    arena = try Arena(layout.scratch.arena)
  }

  /// Means of the segments of a head's rows, summed in fp64.
  func average(
    _ tensor: TensorView, _ batch: Int, _ head: Int, rows: Int, count: Int,
    into out: UnsafeMutablePointer<Float>
  ) {
    let (row, sums, columns) = (arena[parts.row], arena[parts.sums], shape.headDim)
    for index in 0..<count {
      let segment = LandmarkShape.segment(index, of: count, rows: rows)
      sums.update(repeating: 0, count: columns)
      for place in segment {
        tensor.widen(place..<place + 1, batch, head, into: row, functions)
        for column in 0..<columns { sums[column] += Double(row[column]) }
      }
      let factor = 1 / Double(segment.count)
      for column in 0..<columns { out[index * columns + column] = Float(sums[column] * factor) }
    }
  }

  /// Replaces what landmarks of queries gathered by the inverse times it.
  func invert(
    _ count: Int, _ queryMeans: UnsafePointer<Float>, _ keyMeans: UnsafePointer<Float>,
    values: UnsafeMutablePointer<Float>
  ) {
    if count == 0 { return }
    let (queries, keys, matrix) = (arena[parts.queries], arena[parts.keys], arena[parts.matrix])
    let (gathered, mixed) = (arena[parts.gathered], arena[parts.values])
    for index in 0..<count * shape.headDim {
      queries[index] = Double(queryMeans[index])
      keys[index] = Double(keyMeans[index])
    }
    cblas_dgemm(
      CblasRowMajor, CblasNoTrans, CblasTrans, Int32(count), Int32(count), Int32(shape.headDim),
      scale, queries, Int32(shape.headDim), keys, Int32(shape.headDim), 0, matrix, Int32(count))
    for row in 0..<count { softmax(matrix + row * count, count) }
    invert(count)
    for index in 0..<count * shape.valueDim { gathered[index] = Double(values[index]) }
    cblas_dgemm(
      CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(count), Int32(shape.valueDim), Int32(count),
      1, arena[parts.inverse], Int32(count), gathered, Int32(shape.valueDim), 0, mixed,
      Int32(shape.valueDim))
    for index in 0..<count * shape.valueDim { values[index] = Float(mixed[index]) }
  }

  private func softmax(_ row: UnsafeMutablePointer<Double>, _ count: Int) {
    var largest = row[0]
    for index in 1..<max(count, 1) where row[index] > largest { largest = row[index] }
    var sum = 0.0
    for index in 0..<count {
      row[index] = Double.exp(row[index] - largest)
      sum += row[index]
    }
    for index in 0..<count { row[index] /= sum }
  }

  /// Z becomes Z (13 I - A Z (15 I - A Z (7 I - A Z))) / 4, from A^T over the largest sums of its columns and
  /// rows.
  private func invert(_ count: Int) {
    let (a, z, product) = (arena[parts.matrix], arena[parts.inverse], arena[parts.product])
    let (left, right) = (arena[parts.left], arena[parts.right])
    var (largestRow, largestColumn) = (0.0, 0.0)
    for i in 0..<count {
      var (row, column) = (0.0, 0.0)
      for j in 0..<count {
        row += a[i * count + j]
        column += a[j * count + i]
        z[i * count + j] = a[j * count + i]
      }
      largestRow = max(largestRow, row)
      largestColumn = max(largestColumn, column)
    }
    let factor = 1 / (largestRow * largestColumn)
    for index in 0..<count * count { z[index] *= factor }
    func multiply(
      _ x: UnsafePointer<Double>, _ y: UnsafePointer<Double>, _ factor: Double,
      into out: UnsafeMutablePointer<Double>
    ) {
      cblas_dgemm(
        CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(count), Int32(count), Int32(count), factor,
        x, Int32(count), y, Int32(count), 0, out, Int32(count))
    }
    func subtract(_ x: UnsafeMutablePointer<Double>, from diagonal: Double) {
      for i in 0..<count {
        for j in 0..<count { x[i * count + j] = (i == j ? diagonal : 0) - x[i * count + j] }
      }
    }
    for _ in 0..<iterations {
      multiply(a, z, 1, into: product)
      left.update(from: product, count: count * count)
      subtract(left, from: 7)
      multiply(product, left, 1, into: right)
      subtract(right, from: 15)
      multiply(product, right, 1, into: left)
      subtract(left, from: 13)
      multiply(z, left, 0.25, into: right)
      z.update(from: right, count: count * count)
    }
  }
}
