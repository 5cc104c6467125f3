import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// Decoding with linear attention: a state of `d dV + d` numbers for each key/value head is all
/// that is kept of the past, however long it is.
///
/// A token gets what its row of causal `linear` over the whole sequence gives. Steps of many tokens
/// are worked off in chunks like a prompt. Work O(d dV) and memory O(1) a token. The heads are dealt
/// to the workers; a head's state is summed in the order of its tokens, so that the bits do not
/// depend on the number of workers.
///
/// Katharopoulos 2020, arXiv 2006.16236, section 3.4.
package final class RecurrentDecoder: AttentionDecoder, TeamJob, @unchecked Sendable {
  package let problem: AttentionProblem
  package let workspaceBytes: Int
  package private(set) var tokens: [Int]
  private let team: WorkerTeam
  private let layout: LinearStateLayout
  private let scratch: PerWorker<LinearScratch>
  /// `[b * hKV]` states.
  private let states: AlignedFloats
  private let queue = TaskQueue()
  // Set for the time of a step; read by all workers.
  private var operands: AttentionOperands?
  private var counts: [Int]

  package init(
    _ problem: AttentionProblem, on team: WorkerTeam, kernels: KernelTable
  ) throws(AttentionError) {
    try problem.checkForDecoding()
    let shape = problem.shape
    self.problem = problem
    self.team = team
    layout = LinearStateLayout(shape, kernels: kernels, storage: problem.storage)
    scratch = try PerWorker(team.threadCount) {
      [layout] () throws(AttentionError) -> LinearScratch in
      try LinearScratch(layout, kernels: kernels)
    }
    workspaceBytes = team.threadCount * LinearScratch.bytes(layout)
    states = try AlignedFloats(
      count: shape.batch * shape.kvHeads * layout.count, for: "state", touched: true)
    tokens = Array(repeating: 0, count: shape.batch)
    counts = tokens
  }

  package var cacheBytes: Int { 4 * states.count }

  /// Nothing depends on the number of tokens.
  package func prepare(newTokens count: Int) {}

  package func step(_ operands: AttentionOperands, newTokens: [Int]?) throws(AttentionError) {
    let count = try check(operands, newTokens: newTokens)
    for entry in counts.indices { counts[entry] = newTokens?[entry] ?? count }
    self.operands = operands.unowned
    queue.reset(count: problem.shape.batch * problem.shape.kvHeads)
    withExtendedLifetime(operands) { team.run(self) }
    self.operands = nil
    for entry in counts.indices { tokens[entry] += counts[entry] }
  }

  package func work(worker: Int) {
    guard let operands else { return }
    while let head = queue.next() {
      let (entry, kvHead) = head.quotientAndRemainder(dividingBy: problem.shape.kvHeads)
      let count = counts[entry]
      if count == 0 { continue }
      if problem.geometry(batch: entry).causal {
        walk(operands, scratch[worker], entry: entry, kvHead: kvHead, count: count)
      } else {
        takeAll(operands, scratch[worker], entry: entry, kvHead: kvHead, count: count)
      }
    }
  }

  private func state(_ entry: Int, _ kvHead: Int) -> UnsafeMutablePointer<Float> {
    states.base + (entry * problem.shape.kvHeads + kvHead) * layout.count
  }

  private func panelRows(_ panel: Int, kvHead: Int, count: Int) -> PanelRows {
    PanelRows(
      panel: panel, lanes: layout.lanes, total: count * problem.shape.groupSize, kvHead: kvHead,
      groupSize: problem.shape.groupSize)
  }

  private func panels(_ count: Int) -> Int {
    (count * problem.shape.groupSize + layout.lanes - 1) / layout.lanes
  }

  /// Panel by panel: pairs within the panel's own tokens, the state for all before, then those
  /// tokens into the state.
  private func walk(
    _ operands: AttentionOperands, _ scratch: LinearScratch, entry: Int, kvHead: Int, count: Int
  ) {
    let state = state(entry, kvHead)
    let geometry = MaskGeometry(queryLength: count, keyLength: count, offset: 0, causal: true)
    let group = problem.shape.groupSize
    let panels = panels(count)
    var taken = 0
    for panel in 0..<panels {
      let rows = panelRows(panel, kvHead: kvHead, count: count)
      // A token whose query heads are split between two panels belongs to both.
      let next = min((panel + 1) * layout.lanes / group, count)
      let end = rows.covered.rows.upperBound
      scratch.load(
        keys: taken..<end, key: operands.key, value: operands.value, batch: entry, kvHead: kvHead,
        limit: count)
      scratch.attend(
        operands, batch: entry, rows: rows,
        upcoming: panel + 1 < panels ? panelRows(panel + 1, kvHead: kvHead, count: count) : nil,
        geometry: geometry, state: state, chunk: taken..<end)
      scratch.accumulate(count: next - taken, into: state)
      taken = next
    }
  }

  /// Not causal: each of the new tokens sees all of them.
  private func takeAll(
    _ operands: AttentionOperands, _ scratch: LinearScratch, entry: Int, kvHead: Int, count: Int
  ) {
    let state = state(entry, kvHead)
    scratch.take(
      0..<count, key: operands.key, value: operands.value, batch: entry, kvHead: kvHead,
      limit: count, into: state)
    let geometry = MaskGeometry(queryLength: count, keyLength: count, offset: 0, causal: false)
    for panel in 0..<panels(count) {
      scratch.attend(
        operands, batch: entry, rows: panelRows(panel, kvHead: kvHead, count: count),
        upcoming: nil, geometry: geometry, state: state, chunk: 0..<0)
    }
  }

  package func truncate(entry: Int, to count: Int) throws(AttentionError) {
    guard tokens.indices.contains(entry) else {
      throw AttentionError(
        .invalidArgument, argument: "entry", value: entry,
        advice: "must be in 0..<\(tokens.count)")
    }
    if count == tokens[entry] { return }
    guard count == 0 else {
      throw AttentionError(
        .invalidArgument, argument: "count", value: count,
        advice:
          "linear attention keeps sums, out of which no token can be taken; only 0 is possible")
    }
    tokens[entry] = 0
    let perEntry = problem.shape.kvHeads * layout.count
    (states.base + entry * perEntry).update(repeating: 0, count: perEntry)
  }
}
