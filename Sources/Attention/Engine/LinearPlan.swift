import CAttentionKernels
import MachineTopology

/// Linear attention in up to three phases, each dealt to the workers in tasks.
///
/// Not causal: sum the states of fixed segments of keys; add them up in order; multiply every
/// query panel with the total. Causal: walk the query panels of a segment in order, scoring pairs
/// only within a panel's own keys and taking those keys into the state afterwards; with more than
/// one segment a head, the segments' states are summed first and each starts from the sum of
/// those before it.
final class LinearPlan: StagedPlan, @unchecked Sendable {
  let problem: AttentionProblem
  let workspaceBytes: Int
  let team: WorkerTeam
  private let layout: Layout
  private let scratch: [LinearScratch]
  /// `[b * hKV][segments]` states; empty when no state outlives a task.
  private let states: AlignedFloats
  private let queue = TaskQueue()
  // Set for the time of a run; read by all workers.
  var operands: AttentionOperands?
  private var phase = Phase.accumulate

  private enum Phase {
    case accumulate
    case reduce
    case output

    static let all: [Phase] = [.accumulate, .reduce, .output]
    static let outputOnly: [Phase] = [.output]
  }

  /// How a problem is cut up, worked out without allocating.
  struct Layout: Sendable {
    let problem: AttentionProblem
    let state: LinearStateLayout
    let threads: Int
    /// Segments of a head.
    let segments: Int
    /// Panels of a key/value head's query rows.
    let panels: Int

    /// Keys of a segment when not causal: enough to make the state's own traffic small.
    static let segmentKeys = 2048

    init(_ problem: AttentionProblem, threads: Int, kernels: KernelTable) {
      let shape = problem.shape
      self.problem = problem
      self.threads = threads
      state = LinearStateLayout(shape, kernels: kernels, elements: problem.elements)
      let lanes = kernels.panelLanes
      panels = (shape.queryLength * shape.groupSize + lanes - 1) / lanes
      let heads = shape.batch * shape.kvHeads
      if !problem.causal {
        segments = (shape.keyLength + Layout.segmentKeys - 1) / Layout.segmentKeys
      } else if heads % threads == 0 || heads >= 4 * threads {
        segments = 1
      } else {
        // A segment's state is summed once more than in one walk: worth it for an idle core.
        segments = min(max((4 * threads + heads - 1) / heads, 1), max(panels / 16, 1))
      }
    }

    /// Whether states outlive a task.
    var keepsStates: Bool { !problem.causal || segments > 1 }

    /// Segments whose states are summed first: the last causal one's is of no use to anybody.
    var summedSegments: Int { problem.causal ? segments - 1 : segments }

    /// The query panels of a segment, when causal.
    func panels(of segment: Int) -> Range<Int> {
      panels * segment / segments..<panels * (segment + 1) / segments
    }

    /// First key that the rows before `panel` do not see, when causal.
    func keyEnd(before panel: Int, geometry: MaskGeometry) -> Int {
      let row = min(panel * state.lanes / problem.shape.groupSize, geometry.queryLength)
      return row == 0 ? 0 : geometry.visible(from: row - 1 + geometry.offset).upperBound
    }

    /// The keys whose sum is a segment's state.
    func keys(of segment: Int, geometry: MaskGeometry) -> Range<Int> {
      if problem.causal {
        let panels = panels(of: segment)
        return keyEnd(
          before: panels.lowerBound, geometry: geometry)..<keyEnd(
            before: panels.upperBound, geometry: geometry)
      }
      let first = segment * Layout.segmentKeys
      return (first..<first + Layout.segmentKeys).clamped(to: 0..<geometry.keyLength)
    }

    var workspaceBytes: Int {
      threads * LinearScratch.bytes(state)
        + (keepsStates
          ? 4 * problem.shape.batch * problem.shape.kvHeads * segments * state.count : 0)
    }

    /// Pairs are those scored within chunks, none when not causal.
    var work: WorkEstimate {
      let shape = problem.shape
      let perRow = 2 * shape.headDim * shape.valueDim + 2 * shape.headDim
      var pairs = 0
      var keys = 0
      for batch in 0..<shape.batch {
        let geometry = problem.geometry(batch: batch)
        keys += problem.causal ? keyEnd(before: panels, geometry: geometry) : geometry.keyLength
        if problem.causal { pairs += chunkPairs(geometry) * shape.kvHeads }
      }
      return WorkEstimate(
        pairs: pairs,
        flops: keys * shape.kvHeads * perRow + shape.batch * shape.heads * shape.queryLength
          * perRow + 2 * pairs * (shape.headDim + shape.valueDim),
        minimumBytes: problem.tensorBytes, workspaceBytes: workspaceBytes)
    }

    /// Pairs the query heads of one key/value head score: each query with the keys its panel
    /// brings in.
    private func chunkPairs(_ geometry: MaskGeometry) -> Int {
      var pairs = 0
      for panel in 0..<panels {
        let from = pairedFrom(panel, geometry: geometry)
        let first = panel * state.lanes
        for lane in first..<min(first + state.lanes, rows * problem.shape.groupSize) {
          let row = lane / problem.shape.groupSize
          pairs += max(0, geometry.visible(from: row + geometry.offset).upperBound - from)
        }
      }
      return pairs
    }

    private var rows: Int { problem.shape.queryLength }

    /// First key that no row of `panel` sees, when causal. A row whose query heads are split
    /// between two panels belongs to both.
    func keyEnd(of panel: Int, geometry: MaskGeometry) -> Int {
      let group = problem.shape.groupSize
      let last = (min((panel + 1) * state.lanes, rows * group) - 1) / group
      return geometry.visible(from: last + geometry.offset).upperBound
    }

    /// First key a panel scores pair by pair: the keys that all its rows see, beyond what earlier
    /// panels took in, go into the state at once.
    func pairedFrom(_ panel: Int, geometry: MaskGeometry) -> Int {
      let taken = keyEnd(before: panel, geometry: geometry)
      if keyEnd(of: panel, geometry: geometry) - taken <= state.lanes { return taken }
      let row = panel * state.lanes / problem.shape.groupSize
      return max(taken, geometry.visible(from: row + geometry.offset).upperBound)
    }
  }

  init(
    _ problem: AttentionProblem, team: WorkerTeam, kernels: KernelTable
  ) throws(AttentionError) {
    self.problem = problem
    self.team = team
    layout = Layout(problem, threads: team.threadCount, kernels: kernels)
    workspaceBytes = layout.workspaceBytes
    var scratch: [LinearScratch] = []
    for _ in 0..<team.threadCount {
      scratch.append(try LinearScratch(layout.state, kernels: kernels))
    }
    self.scratch = scratch
    let heads = problem.shape.batch * problem.shape.kvHeads
    states = try AlignedFloats(
      count: layout.keepsStates ? heads * layout.segments * layout.state.count : 0,
      for: "workspace", touched: true)
  }

  var takesPagedRows: Bool { true }

  private var heads: Int { problem.shape.batch * problem.shape.kvHeads }
  /// Query panels dealt together when not causal.
  private static let panelsPerTask = 16

  /// The phases of a run: nothing is summed first where each head is walked in one piece.
  private var phases: [Phase] { layout.summedSegments > 0 ? Phase.all : Phase.outputOnly }
  var stageCount: Int { phases.count }

  func begin(stage: Int) {
    phase = phases[stage]
    switch phase {
    case .accumulate: queue.reset(count: heads * layout.summedSegments)
    case .reduce: queue.reset(count: heads)
    case .output: queue.reset(count: heads * outputTasksPerHead)
    }
  }

  private var outputTasksPerHead: Int {
    problem.causal
      ? layout.segments : (layout.panels + LinearPlan.panelsPerTask - 1) / LinearPlan.panelsPerTask
  }

  func work(worker: Int) {
    guard let operands else { return }
    let scratch = scratch[worker]
    while let task = queue.next() {
      switch phase {
      case .accumulate:
        let summed = layout.summedSegments
        accumulate(operands, scratch, head: task / summed, segment: task % summed)
      case .reduce: reduce(head: task)
      case .output:
        if problem.causal {
          walk(
            operands, scratch, head: task / layout.segments, segment: task % layout.segments)
        } else {
          multiply(operands, scratch, head: task % heads, block: task / heads)
        }
      }
    }
  }

  private func state(head: Int, segment: Int) -> UnsafeMutablePointer<Float> {
    states.base + (head * layout.segments + segment) * layout.state.count
  }

  private func accumulate(
    _ operands: AttentionOperands, _ scratch: LinearScratch, head: Int, segment: Int
  ) {
    let batch = head / problem.shape.kvHeads
    let state = state(head: head, segment: segment)
    state.update(repeating: 0, count: layout.state.count)
    take(
      layout.keys(of: segment, geometry: problem.geometry(batch: batch)), operands, scratch,
      head: head, into: state)
  }

  /// Adds keys to a state, a chunk at a time.
  private func take(
    _ keys: Range<Int>, _ operands: AttentionOperands, _ scratch: LinearScratch, head: Int,
    into state: UnsafeMutablePointer<Float>
  ) {
    for first in stride(from: keys.lowerBound, to: keys.upperBound, by: LinearScratch.chunk) {
      let chunk = first..<min(first + LinearScratch.chunk, keys.upperBound)
      load(chunk, operands, scratch, head: head)
      scratch.accumulate(count: chunk.count, into: state)
    }
  }

  private func load(
    _ keys: Range<Int>, _ operands: AttentionOperands, _ scratch: LinearScratch, head: Int
  ) {
    let batch = head / problem.shape.kvHeads
    scratch.load(
      keys: keys, key: operands.key, value: operands.value, batch: batch,
      kvHead: head % problem.shape.kvHeads, limit: problem.geometry(batch: batch).keyLength)
  }

  /// Not causal: the total, in segment 0. Causal: in every segment the sum of those before it.
  private func reduce(head: Int) {
    let count = layout.state.count
    if !problem.causal {
      let total = state(head: head, segment: 0)
      for segment in 1..<max(layout.segments, 1) {
        let part = state(head: head, segment: segment)
        for i in 0..<count { total[i] += part[i] }
      }
      return
    }
    for i in 0..<count {
      var sum: Float = 0
      for segment in 0..<layout.segments {
        let place = state(head: head, segment: segment) + i
        (sum, place.pointee) = (sum + (segment < layout.summedSegments ? place.pointee : 0), sum)
      }
    }
  }

  /// Not causal: some query panels against the total.
  private func multiply(
    _ operands: AttentionOperands, _ scratch: LinearScratch, head: Int, block: Int
  ) {
    let first = block * LinearPlan.panelsPerTask
    for panel in first..<min(first + LinearPlan.panelsPerTask, layout.panels) {
      attend(
        operands, scratch, head: head, panel: panel, state: state(head: head, segment: 0),
        chunk: 0..<0)
    }
  }

  /// Causal: the query panels of a segment in order.
  private func walk(
    _ operands: AttentionOperands, _ scratch: LinearScratch, head: Int, segment: Int
  ) {
    let geometry = problem.geometry(batch: head / problem.shape.kvHeads)
    if segment == 0 {
      scratch.reset()
    } else {
      scratch.state.update(
        from: state(head: head, segment: segment), count: layout.state.count)
    }
    for panel in layout.panels(of: segment) {
      let taken = layout.keyEnd(before: panel, geometry: geometry)
      let paired = layout.pairedFrom(panel, geometry: geometry)
      let end = layout.keyEnd(of: panel, geometry: geometry)
      take(taken..<paired, operands, scratch, head: head, into: scratch.state)
      let chunk = paired..<max(end, paired)
      load(chunk, operands, scratch, head: head)
      attend(
        operands, scratch, head: head, panel: panel, state: scratch.state, chunk: chunk)
      let next = layout.keyEnd(before: panel + 1, geometry: geometry)
      scratch.accumulate(count: max(next - paired, 0), into: scratch.state)
    }
  }

  private func attend(
    _ operands: AttentionOperands, _ scratch: LinearScratch, head: Int, panel: Int,
    state: UnsafePointer<Float>, chunk: Range<Int>
  ) {
    let shape = problem.shape
    let (batch, kvHead) = (head / shape.kvHeads, head % shape.kvHeads)
    let rows = { (panel: Int) in
      PanelRows(
        panel: panel, lanes: self.layout.state.lanes, total: shape.queryLength * shape.groupSize,
        kvHead: kvHead, groupSize: shape.groupSize)
    }
    scratch.attend(
      operands, batch: batch, rows: rows(panel),
      upcoming: panel + 1 < layout.panels ? rows(panel + 1) : nil,
      geometry: problem.geometry(batch: batch), state: state, chunk: chunk)
  }
}
