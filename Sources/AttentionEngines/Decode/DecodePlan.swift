import AttentionContract
import AttentionKernels
import CAttentionKernels
import MachineTopology
import Synchronization
import Tensors

/// Softmax attention of a few query rows, as in decoding and speculative decoding: bound by the
/// memory that keys and values come from.
///
/// A key/value row is read once for all query rows that share it. Long sequences of keys are cut
/// into splits that any worker takes; whoever ends the last split of a head merges them, in order.
///
/// Milakov & Gimelshein 2018, arXiv 1805.02867 (online softmax); Dao 2023, "Flash-Decoding for
/// long-context inference" (splits over keys).
final class DecodePlan: StagedPlan {
  let workspaceBytes: Int
  let team: WorkerTeam
  private let layout: DecodeLayout
  let job = StageJob()
  private let scratch: PerWorker<DecodeScratch>
  private let schedule: DecodeSchedule
  private let shared: Arena
  private let queue = TaskQueue()

  var problem: AttentionProblem { layout.problem }
  var takesKeyLengths: Bool { true }
  var takesPagedRows: Bool { true }
  let stageCount = 1

  /// Query rows of a key/value head at most: with more of them arithmetic, not memory, is the
  /// limit, and panels of queries are faster.
  private static let mostLanes = 16

  /// Whether the problem has few enough query rows.
  static func serves(_ problem: AttentionProblem) -> Bool {
    problem.shape.queryLength * problem.shape.groupSize <= mostLanes
  }

  init(_ layout: DecodeLayout, team: WorkerTeam) throws(AttentionError) {
    self.layout = layout
    self.team = team
    workspaceBytes = layout.workspaceBytes(threads: team.threadCount)
    scratch = try PerWorker(team.threadCount) { () throws(AttentionError) -> DecodeScratch in
      try DecodeScratch(layout.scratch, kernels: layout.kernels)
    }
    schedule = try DecodeSchedule(layout)
    shared = try Arena(layout.shared)
    for head in 0..<layout.pending.count { (pending + head).initialize(to: Atomic(0)) }
  }

  private var pending: UnsafeMutablePointer<Atomic<Int>> { shared[layout.pending] }

  func begin(_ context: StageContext) {
    schedule.update(context.operands)
    let shape = problem.shape
    for batch in 0..<shape.batch {
      let count = schedule.taskCount(batch: batch)
      for kvHead in 0..<shape.kvHeads {
        pending[batch * shape.kvHeads + kvHead].store(count, ordering: .relaxed)
      }
    }
    queue.reset(count: schedule.taskCount)
  }

  func work(_ context: StageContext, worker: Int) {
    let operands = context.operands
    let scratch = scratch[worker]
    while let index = queue.next() {
      let (batch, kvHead, number) = schedule.place(of: index)
      if let task = schedule.task(number, batch: batch) {
        attend(
          operands, scratch, task, batch: batch, kvHead: kvHead,
          slot: slot(batch, kvHead, index: number))
      }
      let head = batch * problem.shape.kvHeads + kvHead
      let left = pending[head].wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue
      if left == 0 { merge(operands, scratch, batch: batch, kvHead: kvHead) }
    }
  }

  private func slot(_ batch: Int, _ kvHead: Int, index: Int) -> UnsafeMutablePointer<Float> {
    shared[layout.partials]
      + ((batch * problem.shape.kvHeads + kvHead) * layout.tasksPerHead + index)
      * layout.slotFloats
  }

  /// `[rows]` maxima of a slot.
  private func maxima(_ slot: UnsafeMutablePointer<Float>) -> UnsafeMutablePointer<Float> {
    slot + layout.lanes * problem.shape.valueDim
  }

  /// `[rows]` sums of a slot.
  private func sums(_ slot: UnsafeMutablePointer<Float>) -> UnsafeMutablePointer<Float> {
    maxima(slot) + layout.lanes
  }

  /// One split: an online softmax over its keys from nothing.
  private func attend(
    _ operands: AttentionOperands, _ scratch: DecodeScratch, _ task: DecodeSchedule.Task,
    batch: Int, kvHead: Int, slot: UnsafeMutablePointer<Float>
  ) {
    let shape = problem.shape
    let rows = task.span.rows
    let count = rows.count * shape.groupSize
    let first = rows.lowerBound * shape.groupSize
    let output = slot + first * shape.valueDim
    output.update(repeating: 0, count: count * shape.valueDim)
    (maxima(slot) + first).update(repeating: -.infinity, count: count)
    (sums(slot) + first).update(repeating: 0, count: count)
    readRows(operands, scratch, task, batch: batch, kvHead: kvHead)

    let places = task.places
    scratch.tables.point(at: places, of: task.span.keys, batch, kvHead, operands)
    let isBiased = layout.visibility.rule != nil
    if isBiased {
      for (i, place) in places.enumerated() {
        scratch.numbers[i] = Int32(task.span.keys.key(place))
      }
    }
    var state = attn_decode(
      storage: problem.storage.keyValue.storage, rows: Int32(count),
      head_dim: Int32(shape.headDim), value_dim: Int32(shape.valueDim),
      softcap: problem.log16Softcap, queries: scratch.queries,
      query_stride: Int32(scratch.queryStride), factor: 1 / layout.queryShrink,
      scores: scratch.scores, output: output,
      maxima: maxima(slot) + first, sums: sums(slot) + first,
      biases: isBiased ? UnsafePointer(scratch.biases) : nil)
    let size = Int(ATTN_DECODE_KEYS)
    var place = places.lowerBound
    while place < places.upperBound {
      let base = place / size * size
      let end = min(base + size, places.upperBound)
      let done = place - places.lowerBound
      var chunk = attn_decode_chunk(
        keys: scratch.tables.keys + done, values: scratch.tables.values + done,
        numbers: isBiased ? UnsafePointer(scratch.numbers + done) : nil, factors: nil,
        base: Int32(base), first: Int32(place - base), count: Int32(end - place),
        available: Int32(places.upperBound - place),
        prefetch_distance: Int32(layout.prefetchDistance),
        lower: scratch.lower, upper: scratch.upper)
      layout.kernels.functions.pointee.decode(&state, &chunk)
      place = end
    }
  }

  /// Packs the query rows of a task and reads what each of them sees.
  private func readRows(
    _ operands: AttentionOperands, _ scratch: DecodeScratch, _ task: DecodeSchedule.Task,
    batch: Int, kvHead: Int
  ) {
    let shape = problem.shape
    let functions = layout.kernels.functions
    let bounds = schedule.bounds(segment: task.segment, batch: batch)
    let offset = schedule.geometry(batch: batch).offset
    let scales = operands.key.channelScales.map {
      $0 + (batch * shape.kvHeads + kvHead) * shape.headDim
    }
    for row in task.span.rows {
      for member in 0..<shape.groupSize {
        let head = kvHead * shape.groupSize + member
        let lane = (row - task.span.rows.lowerBound) * shape.groupSize + member
        var source: UnsafeRawPointer = operands.query.rowAddress(batch, head, row)
        if problem.storage.query != .float32 {
          functions.pointee.widen(
            &source, 1, Int32(shape.headDim), problem.storage.query.storage, nil, scratch.row)
          source = UnsafeRawPointer(scratch.row)
        }
        functions.pointee.decode_query(
          source.assumingMemoryBound(to: Float.self), Int32(shape.headDim),
          problem.scale * Float.log16e * layout.queryShrink, scales,
          scratch.queries + lane * scratch.queryStride)
        scratch.lower[lane] = bounds[2 * row]
        scratch.upper[lane] = bounds[2 * row + 1]
        if let rule = layout.visibility.rule {
          scratch.biases[lane] = rule.row(batch, head, row, position: row + offset)
        }
      }
    }
  }

  /// Stores the rows of a head from its splits.
  private func merge(
    _ operands: AttentionOperands, _ scratch: DecodeScratch, batch: Int, kvHead: Int
  ) {
    let shape = problem.shape
    let scales = operands.value.channelScales.map {
      $0 + (batch * shape.kvHeads + kvHead) * shape.valueDim
    }
    for row in 0..<schedule.geometry(batch: batch).queryLength {
      for member in 0..<shape.groupSize {
        let head = kvHead * shape.groupSize + member
        let lane = row * shape.groupSize + member
        let isFloat32 = problem.storage.output == .float32
        let out = isFloat32 ? operands.output.row(batch, head, row) : scratch.row
        out.update(repeating: 0, count: shape.valueDim)
        var state = mergedState(batch: batch, kvHead: kvHead, row: row, lane: lane)
        let reference = state.maximum
        if let sinks = problem.scoring.sinkLogits {
          _ = state.add(sink: sinks[head] * Float.log16e)
        }
        forEachSlot(batch: batch, kvHead: kvHead, row: row) { slot in
          let maximum = maxima(slot)[lane]
          if maximum == -.infinity, sums(slot)[lane] == 0 { return }
          let share = SoftmaxState.weight(maximum, relativeTo: reference) * state.factor
          let part = slot + lane * shape.valueDim
          for column in 0..<shape.valueDim { out[column] += share * part[column] }
        }
        if let scales { for column in 0..<shape.valueDim { out[column] *= scales[column] } }
        if !isFloat32 {
          var source = UnsafePointer(out)
          var target = operands.output.rowAddress(batch, head, row)
          layout.kernels.functions.pointee.narrow(
            &source, 1, Int32(shape.valueDim), problem.storage.output.storage, &target)
        }
        operands.logSumExp?.row(batch, head, row)[0] = state.naturalLogSumExp
      }
    }
  }

  /// Maximum and sum of a row over all splits.
  private func mergedState(batch: Int, kvHead: Int, row: Int, lane: Int) -> SoftmaxState {
    var reference = -Float.infinity
    forEachSlot(batch: batch, kvHead: kvHead, row: row) {
      reference = max(reference, maxima($0)[lane])
    }
    var sum: Float = 0
    forEachSlot(batch: batch, kvHead: kvHead, row: row) { slot in
      let (maximum, own) = (maxima(slot)[lane], sums(slot)[lane])
      if maximum == -.infinity, own == 0 { return }
      sum += own * SoftmaxState.weight(maximum, relativeTo: reference)
    }
    return SoftmaxState(maximum: reference, sum: sum)
  }

  /// The results of a head's splits that a row took part in.
  private func forEachSlot(
    batch: Int, kvHead: Int, row: Int, _ body: (UnsafeMutablePointer<Float>) -> Void
  ) {
    var index = 0
    for segment in layout.segments[batch].indices {
      let span = schedule.span(segment: segment, batch: batch)
      if span.rows.contains(row) {
        for split in 0..<span.splits.count { body(slot(batch, kvHead, index: index + split)) }
      }
      index += span.splits.count
    }
  }
}
