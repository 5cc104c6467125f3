import AttentionContract
import AttentionKernels
import CAttentionKernels
import RealModule
import Tensors

/// One task on one worker: pack its panels, let them meet every block of keys they see, store what
/// comes out.
struct PanelTaskRun {
  let plan: SoftmaxPlan
  let operands: AttentionOperands
  let scratch: PanelScratch
  let task: PanelTask
  private let pass: Int
  let functions: UnsafePointer<attn_kernels>
  private let lanes: Int
  private let vectorLanes: Int
  private let groupSize: Int
  private let rowStride: Int
  private let sequenceCount: Int

  init(
    plan: SoftmaxPlan, operands: AttentionOperands, scratch: PanelScratch, task: PanelTask,
    pass: Int
  ) {
    self.plan = plan
    self.operands = operands
    self.scratch = scratch
    self.task = task
    self.pass = pass
    functions = plan.kernels.functions
    lanes = plan.kernels.panelLanes
    vectorLanes = plan.kernels.vectorLanes
    groupSize = plan.problem.shape.groupSize
    rowStride = plan.tables[task.batch].passes[pass].rowStride
    sequenceCount = plan.tables[task.batch].passes[pass].sequenceCount
  }

  private var table: PatternTable { plan.tables[task.batch] }

  func run() {
    scratch.mask?.beginTask()
    for panel in task.panels.indices { begin(panel - task.panels.lowerBound, at: panel) }
    for sequence in 0..<sequenceCount { visit(sequence) }
    for panel in task.panels.indices { finish(panel - task.panels.lowerBound, at: panel) }
  }

  private func rows(at panel: Int) -> PanelRows {
    PanelRows(
      panel: panel, lanes: lanes, total: task.lanes, kvHead: task.kvHead, groupSize: groupSize,
      firstRow: task.firstRow, rowStride: rowStride)
  }

  /// Packs a panel's queries, sets up its softmax state and reads its bounds.
  private func begin(_ slot: Int, at panel: Int) {
    let rows = rows(at: panel)
    let inputRows = scratch.inputRows
    rows.forEach { inputRows[$0] = operands.query.rowAddress(task.batch, $1, $2) }
    if let additive = plan.additive {
      additive.pack(
        rows, inputRows, lanes: lanes, into: scratch.queries(slot), functions)
    } else {
      pack(slot, count: rows.live)
    }
    scratch.maxima(slot).update(repeating: -.infinity, count: lanes)
    scratch.sums(slot).update(repeating: 0, count: lanes)
    scratch.output(slot).update(repeating: 0, count: scratch.outputRowCount * lanes)
    readBounds(slot, rows)
    scratch.mask?.begin(slot, rows, batch: task.batch, offset: table.geometry.offset)
    if panel + 1 < task.panels.upperBound { prefetchQueries(self.rows(at: panel + 1)) }
  }

  private func prefetchQueries(_ rows: PanelRows) {
    let inputRows = scratch.inputRows
    rows.forEach { inputRows[$0] = operands.query.rowAddress(task.batch, $1, $2) }
    functions.pointee.prefetch(
      inputRows, Int32(rows.live), operands.query.rowBytes)
  }

  private func readBounds(_ slot: Int, _ rows: PanelRows) {
    let live = rows.live
    let pass = table.passes[pass]
    let queryLength = table.geometry.queryLength
    for sequence in 0..<sequenceCount {
      let bounds = scratch.bounds(slot, sequence: sequence)
      pass.lower.withUnsafeBufferPointer { lower in
        pass.upper.withUnsafeBufferPointer { upper in
          rows.forEach { lane, _, row in
            bounds.lower[lane] = lower[sequence * queryLength + row]
            bounds.upper[lane] = upper[sequence * queryLength + row]
          }
        }
      }
      bounds.repeatLast(live: live, lanes: lanes)
      bounds.summarise(vectors: vectors(live), vectorLanes: vectorLanes)
    }
  }

  /// Vectors that hold `live` lanes.
  private func vectors(_ live: Int) -> Int { (live + vectorLanes - 1) / vectorLanes }

  /// Walks one key sequence in blocks that begin at multiples of the block size, whatever the
  /// task, so that results do not depend on how panels were grouped.
  private func visit(_ sequence: Int) {
    let keys = table.passes[pass].sequences[task.firstRow * sequenceCount + sequence]
    let blockSize = plan.blocks.keys
    var first = Int.max
    var end = 0
    for panel in task.panels {
      let bounds = scratch.bounds(panel - task.panels.lowerBound, sequence: sequence)
      for vector in 0..<vectors(rows(at: panel).live) {
        first = min(first, bounds.first(vector))
        end = max(end, bounds.end(vector))
      }
    }
    guard first < end,
      var block = nextVisible(first / blockSize * blockSize, first..<end, of: keys, sequence)
    else { return }
    // The blocks before it are passed over.
    let seen = max(first, block)..<end
    point(keys, seen: seen, block: block)
    functions.pointee.prefetch(
      scratch.nextKeyRows + (seen.lowerBound - block),
      Int32(min(block + blockSize, end) - seen.lowerBound), operands.key.rowBytes)
    while true {
      let places = places(of: block, seen: seen)
      let next = nextVisible(block + blockSize, seen, of: keys, sequence)
      scratch.advance()
      scratch.prefetches.clear()
      if let next {
        let places = next..<min(next + blockSize, end)
        point(keys, seen: seen, block: next)
        prefetch(keys, places, of: operands.key)
        prefetch(keys, places, of: operands.value)
      } else if sequence == sequenceCount - 1 {
        prefetchOutput()
      }
      copyTogether(keys, places: places, block: block)
      for panel in task.panels {
        let slot = panel - task.panels.lowerBound
        attend(
          slot, vectors: vectors(rows(at: panel).live),
          bounds: scratch.bounds(slot, sequence: sequence), keys: keys, block: block,
          places: places)
      }
      guard let next else { return }
      block = next
    }
  }

  /// The first block, from one on, that the bounds of the task's rows, mask and bias do not hide from
  /// the whole task; nil when there is none.
  private func nextVisible(
    _ block: Int, _ places: Range<Int>, of keys: KeySequence, _ sequence: Int
  ) -> Int? {
    var block = block
    while block < places.upperBound {
      let own = (block..<block + plan.blocks.keys).clamped(to: places)
      if isWithinBounds(own, sequence), scratch.mask?.sees(own, of: keys) ?? true { return block }
      block += plan.blocks.keys
    }
    return nil
  }

  /// Whether some vector of rows of the task may see some of these places. What different rows see
  /// may lie far apart, and nobody sees what is between.
  private func isWithinBounds(_ places: Range<Int>, _ sequence: Int) -> Bool {
    for panel in task.panels {
      let bounds = scratch.bounds(panel - task.panels.lowerBound, sequence: sequence)
      for vector in 0..<vectors(rows(at: panel).live)
      where bounds.first(vector) < places.upperBound && bounds.end(vector) > places.lowerBound {
        return true
      }
    }
    return false
  }

  /// The places of a block that are visited: those that are seen, rounded to whole grains.
  private func places(of block: Int, seen: Range<Int>) -> Range<Int> {
    let grain = scratch.format.wordKeys
    return max(
      block, seen.lowerBound / grain * grain)..<min(
        block + plan.blocks.keys, (seen.upperBound + grain - 1) / grain * grain)
  }

  /// Points at the next block's key and value rows; where nobody sees a row, at the nearest one
  /// that somebody does.
  private func point(_ keys: KeySequence, seen: Range<Int>, block: Int) {
    let places = places(of: block, seen: seen)
    let keyRows = scratch.nextKeyRows + (places.lowerBound - block)
    let valueRows = scratch.nextValueRows + (places.lowerBound - block)
    for t in places {
      let key = keys.key(min(max(t, seen.lowerBound), seen.upperBound - 1))
      keyRows[t - places.lowerBound] = operands.key.rowAddress(task.batch, task.kvHead, key)
      valueRows[t - places.lowerBound] = operands.value.rowAddress(task.batch, task.kvHead, key)
    }
  }

  /// Has the next block's rows prefetched while one is in work: its first panel would otherwise wait
  /// for each of them. Rows that will be copied together are fetched then: so far apart they would
  /// push each other out of the cache before.
  private func prefetch(_ keys: KeySequence, _ places: Range<Int>, of tensor: TensorView) {
    if areApart(keys, tensor) { return }
    if keys.period == keys.run {
      let first = keys.key(places.lowerBound)
      scratch.prefetches.add(
        first..<first + places.count, of: tensor, batch: task.batch, head: task.kvHead)
      return
    }
    for place in places {
      let key = keys.key(place)
      scratch.prefetches.add(key..<key + 1, of: tensor, batch: task.batch, head: task.kvHead)
    }
  }

  /// Has the output rows prefetched: storing to them would wait.
  private func prefetchOutput() {
    let output = operands.output.reading
    if rowStride * output.rowStride > 2 * output.shape.columns { return }
    for panel in task.panels {
      let covered = rows(at: panel).covered
      for head in covered.heads {
        scratch.prefetches.add(covered.rows, of: output, batch: task.batch, head: head)
      }
    }
  }

  func areApart(_ keys: KeySequence, _ tensor: TensorView) -> Bool {
    keys.period / keys.run * tensor.rowStride > 2 * tensor.shape.columns
  }

  /// Lets a panel meet a block.
  private func attend(
    _ slot: Int, vectors: Int, bounds: PanelBounds, keys sequence: KeySequence, block: Int,
    places: Range<Int>
  ) {
    let tile = scratch.format.tileKeys(plan.kernels)
    let count =
      scratch.mask?.cut(
        slot, places, of: sequence, bounds: bounds, vectors: vectors, tile: tile,
        grain: scratch.format.wordKeys, block: block, into: scratch.pieces)
      ?? bounds.cut(
        places, vectors: vectors, tile: tile, grain: scratch.format.wordKeys, block: block,
        into: scratch.pieces)
    if count == 0 { return }
    var panel = scratch.kernelPanel(slot, vectors: vectors)
    var keys = attn_block(
      keys: scratch.keyRows,
      values: UnsafePointer(scratch.format.isFloat32 ? scratch.valueRows : scratch.groupRows),
      pieces: scratch.pieces,
      piece_count: Int32(count), first_key: Int32(block), lower: bounds.lower,
      upper: bounds.upper, prefetch: scratch.prefetches.pending,
      bias: scratch.mask.map { UnsafePointer($0.bias) },
      key_bias: scratch.mask.map { UnsafePointer($0.keyBias) },
      scales: scratch.format.scaled == nil ? nil : UnsafePointer(scratch.scales))
    if plan.additive == nil {
      attn_attend(functions, scratch.format.code, &panel, &keys)
    } else {
      functions.pointee.attend_additive(&panel, &keys)
    }
  }

  /// Normalises a panel and stores output rows and LSE, merged with what earlier passes left.
  private func finish(_ slot: Int, at panel: Int) {
    let maxima = scratch.maxima(slot)
    let sums = scratch.sums(slot)
    let shifts = scratch.format.scaled == nil ? nil : scratch.queryShifts(slot)
    let (factors, kept) = (scratch.factors, scratch.kept)
    let rows = rows(at: panel)
    let live = rows.live
    let last = pass == plan.tables[task.batch].passes.count - 1
    let keepsLSE = !last || operands.logSumExp != nil
    pointAtOutput(rows)
    rows.forEach { lane, head, row in
      let shift = maxima[lane] > -.infinity ? shifts?[lane] ?? 0 : 0
      var state = SoftmaxState(maximum: maxima[lane] + shift, sum: sums[lane])
      if pass > 0 {
        let earlier = plan.partialState(task.batch, head, row)
        kept[lane] = state.merge(SoftmaxState(maximum: earlier[0], sum: earlier[1]))
      }
      if last, let sinks = plan.problem.scoring.sinkLogits {
        let share = state.add(sink: sinks[head] * Float.log16e)
        kept[lane] *= share
      }
      factors[lane] = state.factor
      if !keepsLSE { return }
      if !last {
        let left = plan.partialState(task.batch, head, row)
        (left[0], left[1]) = (state.maximum, state.sum)
      } else if let out = operands.logSumExp {
        out.row(task.batch, head, row)[0] = state.naturalLogSumExp
      }
    }
    factors.advanced(by: live).update(repeating: 0, count: lanes - live)
    functions.pointee.unpack(
      scratch.output(slot), factors, pass > 0 ? kept : nil, Int32(live),
      Int32(plan.problem.shape.valueDim), scratch.outputRows)
    if last, operands.output.reading.elementType != .float32 { narrowOutput(rows) }
  }

  /// Points at the fp32 rows that take a panel's output: the tensor's own, or those from which it is
  /// rounded when the last pass is done.
  private func pointAtOutput(_ rows: PanelRows) {
    let columns = plan.problem.shape.valueDim
    let isFloat32 = operands.output.reading.elementType == .float32
    rows.forEach { lane, head, row in
      scratch.outputRows[lane] =
        if isFloat32 {
          operands.output.row(task.batch, head, row)
        } else {
          plan.partialOutput(task.batch, head, row) ?? scratch.rowCopies + lane * columns
        }
    }
  }

  /// Rounds a panel's finished rows into the output.
  private func narrowOutput(_ rows: PanelRows) {
    let storedRows = scratch.storedRows
    rows.forEach { storedRows[$0] = operands.output.rowAddress(task.batch, $1, $2) }
    scratch.outputRows.narrow(
      count: rows.live, columns: plan.problem.shape.valueDim,
      storage: operands.output.reading.elementType.storage, into: storedRows, functions)
  }
}
