import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// How a problem of linear attention is cut up, worked out without allocating.
package struct LinearLayout: Sendable {
  /// One sequence of the batch.
  struct Entry: Sendable {
    let geometry: MaskGeometry
    /// Panels of a key/value head's query rows.
    let panels: Int
    /// Segments of a head; none where there are no query rows.
    let segments: Int
    /// Segments whose states are summed first: the last causal one's is of no use to anybody.
    let summedSegments: Int
    /// Place of the states of its first head, `[hKV][segments]` of them; meaningless where no state
    /// outlives a task.
    let firstState: Int
  }

  /// A segment of keys, a head, or some query panels, depending on the phase.
  struct Task: Sendable {
    let batch: Int
    let kvHead: Int
    /// Number of the segment, or of the block of query panels.
    let index: Int
  }

  let problem: AttentionProblem
  let state: LinearStateLayout
  let threads: Int
  let isCausal: Bool
  let entries: [Entry]
  /// States that outlive a task.
  private(set) var arena = ArenaLayout()
  let states: ArenaPart<Float>

  /// Keys of a segment when not causal: enough to make the state's own traffic small.
  private static let segmentKeys = 2048
  /// Query panels dealt together when not causal.
  private static let panelsPerTask = 16

  package init(_ problem: AttentionProblem, threads: Int, kernels: KernelTable) {
    let shape = problem.shape
    self.problem = problem
    self.threads = threads
    state = LinearStateLayout(shape, kernels: kernels, storage: problem.storage)
    let lanes = kernels.panelLanes
    let geometries = (0..<shape.batch).map { problem.geometry(batch: $0) }
    isCausal = geometries[0].causal
    let panels = geometries.map { ($0.queryLength * shape.groupSize + lanes - 1) / lanes }
    let total = panels.reduce(0, +) * shape.kvHeads
    let isEven = panels.allSatisfy { $0 == panels[0] }
    let divides = threads == 1 || isEven && shape.batch * shape.kvHeads % threads == 0
    var entries: [Entry] = []
    var states = 0
    for (geometry, panels) in zip(geometries, panels) {
      let segments: Int
      if panels == 0 {
        segments = 0
      } else if !isCausal {
        segments = max((geometry.keyLength + Self.segmentKeys - 1) / Self.segmentKeys, 1)
      } else if divides {
        segments = 1
      } else {
        // A segment's state is summed once more than in one walk: worth it for an idle core.
        segments = min((4 * threads * panels + total - 1) / total, max(panels / 16, 1))
      }
      entries.append(
        Entry(
          geometry: geometry, panels: panels, segments: segments,
          summedSegments: isCausal ? max(segments - 1, 0) : segments,
          firstState: states))
      if !isCausal || segments > 1 { states += segments * shape.kvHeads }
    }
    self.entries = entries
    self.states = arena.add(states * state.count)
  }

  /// The query panels of a segment, when causal.
  func panels(of segment: Int, _ entry: Entry) -> Range<Int> {
    entry.panels * segment / entry.segments..<entry.panels * (segment + 1) / entry.segments
  }

  /// The query panels of a block, when not causal.
  func panels(ofBlock block: Int, _ entry: Entry) -> Range<Int> {
    let first = block * Self.panelsPerTask
    return first..<min(first + Self.panelsPerTask, entry.panels)
  }

  /// First key that the rows before `panel` do not see, when causal.
  func keyEnd(before panel: Int, _ geometry: MaskGeometry) -> Int {
    let row = min(panel * state.lanes / problem.shape.groupSize, geometry.queryLength)
    return row == 0 ? 0 : geometry.visible(from: row - 1 + geometry.offset).upperBound
  }

  /// First key that no row of `panel` sees, when causal. A row whose query heads are split
  /// between two panels belongs to both.
  func keyEnd(of panel: Int, _ geometry: MaskGeometry) -> Int {
    let group = problem.shape.groupSize
    let last = (min((panel + 1) * state.lanes, geometry.queryLength * group) - 1) / group
    return geometry.visible(from: last + geometry.offset).upperBound
  }

  /// First key a panel scores pair by pair: the keys that all its rows see, beyond what earlier
  /// panels took in, go into the state at once.
  func pairedFrom(_ panel: Int, _ geometry: MaskGeometry) -> Int {
    let taken = keyEnd(before: panel, geometry)
    if keyEnd(of: panel, geometry) - taken <= state.lanes { return taken }
    let row = panel * state.lanes / problem.shape.groupSize
    return max(taken, geometry.visible(from: row + geometry.offset).upperBound)
  }

  /// The keys whose sum is a segment's state.
  func keys(of segment: Int, _ entry: Entry) -> Range<Int> {
    if isCausal {
      let panels = panels(of: segment, entry)
      return keyEnd(
        before: panels.lowerBound, entry.geometry)..<keyEnd(
          before: panels.upperBound, entry.geometry)
    }
    let first = segment * Self.segmentKeys
    return (first..<first + Self.segmentKeys).clamped(to: 0..<entry.geometry.keyLength)
  }

  var workspaceBytes: Int {
    threads * LinearScratch.bytes(state) + arena.bytes
  }
}

extension LinearLayout {
  /// Segments to sum, longest first.
  var summing: [Task] {
    tasks { $0.summedSegments }.sorted {
      keys(of: $0.index, entries[$0.batch]).count > keys(of: $1.index, entries[$1.batch]).count
    }
  }

  /// Heads whose segments have to be added up.
  var adding: [Task] { tasks { $0.segments > 1 ? 1 : 0 } }

  /// Query rows to be served, the largest piece first: segments when causal, otherwise blocks of
  /// panels.
  var serving: [Task] {
    if isCausal {
      return tasks { $0.segments }.sorted {
        panels(of: $0.index, entries[$0.batch]).count
          > panels(of: $1.index, entries[$1.batch]).count
      }
    }
    // Block after block of all heads.
    return tasks { ($0.panels + Self.panelsPerTask - 1) / Self.panelsPerTask }
      .sorted { $0.index < $1.index }
  }

  /// So many tasks for each key/value head of each entry.
  private func tasks(_ count: (Entry) -> Int) -> [Task] {
    entries.enumerated().flatMap { batch, entry in
      (0..<problem.shape.kvHeads).flatMap { kvHead in
        (0..<count(entry)).map { Task(batch: batch, kvHead: kvHead, index: $0) }
      }
    }
  }

  /// Pairs are those scored within chunks, none when not causal.
  package var work: WorkEstimate {
    let shape = problem.shape
    let perRow = 2 * shape.headDim * shape.valueDim + 2 * shape.headDim
    var pairs = 0
    var keys = 0
    var rows = 0
    for entry in entries {
      let geometry = entry.geometry
      rows += geometry.queryLength * shape.heads
      if entry.panels == 0 { continue }
      keys +=
        isCausal ? keyEnd(before: entry.panels, geometry) : geometry.keyLength
      if isCausal { pairs += chunkPairs(entry) * shape.kvHeads }
    }
    return WorkEstimate(
      pairs: pairs,
      flops: (keys * shape.kvHeads + rows) * perRow
        + 2 * pairs * (shape.headDim + shape.valueDim),
      minimumBytes: problem.minimumBytes, workspaceBytes: workspaceBytes)
  }

  /// Pairs the query heads of one key/value head score: each query with the keys its panel
  /// brings in.
  private func chunkPairs(_ entry: Entry) -> Int {
    let group = problem.shape.groupSize
    let geometry = entry.geometry
    var pairs = 0
    for panel in 0..<entry.panels {
      let from = pairedFrom(panel, geometry)
      let first = panel * state.lanes
      for lane in first..<min(first + state.lanes, geometry.queryLength * group) {
        pairs += max(0, geometry.visible(from: lane / group + geometry.offset).upperBound - from)
      }
    }
    return pairs
  }
}
