import CAttentionKernels
import RealModule

/// One task on one worker: pack its panels, let them meet every block of keys they see, store what
/// comes out.
struct PanelTaskRun {
  private let plan: SoftmaxPlan
  private let operands: AttentionOperands
  private let scratch: PanelScratch
  private let task: PanelTask
  private let pass: Int
  private let functions: UnsafePointer<attn_kernels>
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
    for panel in task.panels.indices { begin(panel - task.panels.lowerBound, at: panel) }
    for sequence in 0..<sequenceCount { visit(sequence) }
    for panel in task.panels.indices { finish(panel - task.panels.lowerBound, at: panel) }
  }

  private func rows(at panel: Int) -> PanelRows {
    PanelRows(
      panel: panel, lanes: lanes, total: task.lanes, kvHead: task.kvHead, groupSize: groupSize,
      firstRow: task.firstRow, rowStride: rowStride)
  }

  /// Packs a panel's queries, sets up or resumes its softmax state and reads its bounds.
  private func begin(_ slot: Int, at panel: Int) {
    let shape = plan.problem.shape
    let rows = rows(at: panel)
    let inputRows = scratch.inputRows
    rows.forEach { inputRows[$0] = operands.query.row(task.batch, $1, $2) }
    // Scores come out in log2 units: 2^x is cheaper than e^x.
    functions.pointee.pack(
      inputRows, Int32(rows.live), Int32(shape.headDim), plan.problem.scale * Float.log2e,
      scratch.queries(slot))
    let maxima = scratch.maxima(slot)
    let sums = scratch.sums(slot)
    maxima.update(repeating: -.infinity, count: lanes)
    sums.update(repeating: 0, count: lanes)
    if pass == 0 {
      scratch.output(slot).update(repeating: 0, count: shape.valueDim * lanes)
    } else {
      rows.forEach { lane, head, row in
        inputRows[lane] = operands.output.reading.row(task.batch, head, row)
        let lse = plan.partialLSE.base[plan.lseIndex(task.batch, head, row)]
        maxima[lane] = lse
        sums[lane] = lse == -.infinity ? 0 : 1
      }
      functions.pointee.pack(
        inputRows, Int32(rows.live), Int32(shape.valueDim), 1, scratch.output(slot))
    }
    readBounds(slot, rows)
    if panel + 1 < task.panels.upperBound { prefetch(self.rows(at: panel + 1)) }
  }

  /// Asks for a panel's queries, and in a later pass for its output so far.
  private func prefetch(_ rows: PanelRows) {
    let inputRows = scratch.inputRows
    let shape = plan.problem.shape
    rows.forEach { inputRows[$0] = operands.query.row(task.batch, $1, $2) }
    functions.pointee.prefetch(inputRows, Int32(rows.live), Int32(shape.headDim))
    if pass == 0 { return }
    rows.forEach { inputRows[$0] = operands.output.reading.row(task.batch, $1, $2) }
    functions.pointee.prefetch(inputRows, Int32(rows.live), Int32(shape.valueDim))
  }

  private func readBounds(_ slot: Int, _ rows: PanelRows) {
    let live = rows.live
    let pass = table.passes[pass]
    let queryLength = plan.problem.shape.queryLength
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
      for lane in live..<lanes {
        bounds.lower[lane] = bounds.lower[live - 1]
        bounds.upper[lane] = bounds.upper[live - 1]
      }
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
    if first >= end { return }
    var block = first / blockSize * blockSize
    point(keys, places: first..<min(block + blockSize, end), block: block)
    while block < end {
      let places = max(block, first)..<min(block + blockSize, end)
      let next = block + blockSize
      scratch.advance()
      if next < end {
        point(keys, places: next..<min(next + blockSize, end), block: next)
      }
      copyTogether(keys, places: places, block: block)
      for panel in task.panels {
        let slot = panel - task.panels.lowerBound
        attend(
          slot, vectors: vectors(rows(at: panel).live),
          bounds: scratch.bounds(slot, sequence: sequence), block: block, places: places)
      }
      block = next
    }
  }

  /// Points at the next block's key and value rows, and asks for them while the block before is
  /// in work: its first panel would otherwise wait for each of them.
  private func point(_ keys: KeySequence, places: Range<Int>, block: Int) {
    let shape = plan.problem.shape
    let keyRows = scratch.nextKeyRows + (places.lowerBound - block)
    let valueRows = scratch.nextValueRows + (places.lowerBound - block)
    for t in places {
      let key = keys.key(t)
      keyRows[t - places.lowerBound] = operands.key.row(task.batch, task.kvHead, key)
      valueRows[t - places.lowerBound] = operands.value.row(task.batch, task.kvHead, key)
    }
    functions.pointee.prefetch(keyRows, Int32(places.count), Int32(shape.headDim))
    functions.pointee.prefetch(valueRows, Int32(places.count), Int32(shape.valueDim))
  }

  /// Copies a block's rows together where they are far apart: at a large power of two they would
  /// share a few cache sets and be fetched again for every panel and every tile of value columns.
  private func copyTogether(_ keys: KeySequence, places: Range<Int>, block: Int) {
    let shape = plan.problem.shape
    let start = places.lowerBound - block
    if keys.period / keys.run * operands.key.rowStride > 2 * shape.headDim {
      gather(
        scratch.keyRows + start, count: places.count, columns: shape.headDim,
        into: scratch.keyCopies)
    }
    if keys.period / keys.run * operands.value.rowStride > 2 * shape.valueDim {
      gather(
        scratch.valueRows + start, count: places.count, columns: shape.valueDim,
        into: scratch.valueCopies)
    }
  }

  /// Copies rows together and points at the copies.
  private func gather(
    _ rows: UnsafeMutablePointer<UnsafePointer<Float>>, count: Int, columns: Int,
    into copies: UnsafeMutablePointer<Float>
  ) {
    functions.pointee.gather(rows, Int32(count), Int32(columns), copies)
    for i in 0..<count { rows[i] = UnsafePointer(copies + i * columns) }
  }

  /// Lets a panel meet a block: the part all its rows see in one call, the edges by vector.
  private func attend(
    _ slot: Int, vectors: Int, bounds: PanelBounds, block: Int, places: Range<Int>
  ) {
    var first = Int.max
    var allFrom = 0
    var allUntil = Int.max
    var end = 0
    for vector in 0..<vectors {
      first = min(first, bounds.first(vector))
      allFrom = max(allFrom, bounds.allFrom(vector))
      allUntil = min(allUntil, bounds.allUntil(vector))
      end = max(end, bounds.end(vector))
    }
    let start = max(places.lowerBound, first)
    let stop = min(places.upperBound, end)
    if start >= stop { return }
    // Whole tiles only: the keys rounded away are seen through the mask.
    let tile = plan.kernels.tileKeys
    let fullStart = allFrom <= start ? start : (allFrom + tile - 1) / tile * tile
    let fullStop = allUntil >= stop ? stop : max(allUntil, 0) / tile * tile
    var panel = scratch.kernelPanel(slot)
    if fullStart < fullStop {
      edges(&panel, vectors: vectors, bounds: bounds, block: block, places: start..<fullStart)
      functions.pointee.attend(
        &panel, scratch.keyRows + (fullStart - block), scratch.valueRows + (fullStart - block),
        Int32(fullStop - fullStart), 0, Int32(vectors))
      edges(&panel, vectors: vectors, bounds: bounds, block: block, places: fullStop..<stop)
    } else {
      edges(&panel, vectors: vectors, bounds: bounds, block: block, places: start..<stop)
    }
  }

  /// The part of a block that not all rows see, cut where a vector of rows begins or ceases to
  /// see, so that each piece runs over the vectors that see some of it.
  private func edges(
    _ panel: inout attn_panel, vectors: Int, bounds: PanelBounds, block: Int,
    places: Range<Int>
  ) {
    var start = places.lowerBound
    while start < places.upperBound {
      // Usually the vectors that see a piece are neighbours; any between them that do not are
      // masked away.
      var stop = places.upperBound
      var firstVector = vectors
      var lastVector = -1
      var allSee = true
      for vector in 0..<vectors {
        let (first, end) = (bounds.first(vector), bounds.end(vector))
        if first > start { stop = min(stop, first) }
        if end > start { stop = min(stop, end) }
        if first <= start, start < end {
          firstVector = min(firstVector, vector)
          lastVector = vector
        }
      }
      if firstVector <= lastVector {
        for vector in firstVector...lastVector
        where bounds.allFrom(vector) > start || bounds.allUntil(vector) < stop {
          allSee = false
        }
        let keys = scratch.keyRows + (start - block)
        let values = scratch.valueRows + (start - block)
        let (count, seeing) = (Int32(stop - start), Int32(lastVector - firstVector + 1))
        if allSee {
          functions.pointee.attend(&panel, keys, values, count, Int32(firstVector), seeing)
        } else {
          functions.pointee.attend_masked(
            &panel, keys, values, count, Int32(firstVector), seeing, Int32(start),
            bounds.lower, bounds.upper)
        }
      }
      start = stop
    }
  }

  /// Normalises a panel and stores output rows and LSE.
  private func finish(_ slot: Int, at panel: Int) {
    let maxima = scratch.maxima(slot)
    let sums = scratch.sums(slot)
    let factors = scratch.factors
    let rows = rows(at: panel)
    let live = rows.live
    // A row that saw nothing has sum 0 and output 0.
    for lane in 0..<live { factors[lane] = sums[lane] == 0 ? 0 : 1 / sums[lane] }
    factors.advanced(by: live).update(repeating: 0, count: lanes - live)
    rows.forEach {
      scratch.outputRows[$0] = operands.output.row(task.batch, $1, $2)
    }
    functions.pointee.unpack(
      scratch.output(slot), factors, Int32(live), Int32(plan.problem.shape.valueDim),
      scratch.outputRows)
    let last = pass == plan.tasks.passes.count - 1
    if last, operands.logSumExp == nil { return }
    rows.forEach { lane, head, row in
      let lse = maxima[lane] + Float.log2(sums[lane])
      if !last {
        plan.partialLSE.base[plan.lseIndex(task.batch, head, row)] = lse
      } else if let out = operands.logSumExp {
        out.row(task.batch, head, row)[0] = lse * Float.ln2
      }
    }
  }
}
