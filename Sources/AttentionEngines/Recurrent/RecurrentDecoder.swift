import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// Decoding with a recurrence: a state of m dV numbers for each key/value head is all that is kept of the
/// past, however long it is.
///
/// A token gets what its row of the whole sequence gives, causal or not. Steps of several tokens are worked
/// off in chunks like a prompt. Work O(m dV) and memory O(1) a token. Heads and panels of value columns are
/// dealt to the workers; the bits do not depend on their number.
package final class RecurrentDecoder: AttentionDecoder, TeamJob, @unchecked Sendable {
  package let problem: AttentionProblem
  package let workspaceBytes: Int
  package let declaredOperands: [OperandDeclaration]
  package private(set) var tokens: [Int]
  private let name: String
  private let team: WorkerTeam
  private let layout: RecurrentLayout
  private let scratch: PerWorker<RecurrentScratch>
  /// `[b * hKV]` states.
  private let states: AlignedFloats
  private let queue = TaskQueue()
  // Set for the time of a step; read by all workers.
  private var operands: AttentionOperands?
  private var counts: [Int]

  package init(
    _ strategy: any RecurrentStrategy, _ problem: AttentionProblem, on team: WorkerTeam,
    kernels: KernelTable
  ) throws(AttentionError) {
    try problem.checkForDecoding()
    let shape = problem.shape
    self.problem = problem
    self.team = team
    name = strategy.name
    // A state to begin with is none of a step.
    declaredOperands = strategy.operands.withoutState
    let layout = RecurrentLayout(
      problem, strategy.recurrence(for: shape), operands: strategy.operands,
      threads: team.threadCount, kernels: kernels)
    self.layout = layout
    let prepared = strategy.prepared(for: problem)
    scratch = try PerWorker(team.threadCount) { () throws(AttentionError) -> RecurrentScratch in
      try RecurrentScratch(layout, prepared, kernels: kernels)
    }
    workspaceBytes = layout.workspaceBytes
    states = try AlignedFloats(
      count: layout.headCount * layout.stateCount, for: "state", touched: true)
    tokens = Array(repeating: 0, count: shape.batch)
    counts = tokens
  }

  package var cacheBytes: Int {
    let sums = layout.recurrence.normalises ? layout.stateRows : 0
    return 4 * layout.headCount * (layout.stateRows * problem.shape.valueDim + sums)
  }

  /// Nothing depends on the number of tokens.
  package func prepare(newTokens count: Int) {}

  package func step(_ operands: AttentionOperands, newTokens: [Int]?) throws(AttentionError) {
    let count = try check(operands, newTokens: newTokens)
    for entry in counts.indices { counts[entry] = newTokens?[entry] ?? count }
    self.operands = operands.unowned
    queue.reset(count: layout.headCount * layout.pieces)
    withExtendedLifetime(operands) { team.run(self) }
    self.operands = nil
    for entry in counts.indices { tokens[entry] += counts[entry] }
  }

  package func work(worker: Int) {
    guard let operands else { return }
    while let task = queue.next() {
      let (place, piece) = task.quotientAndRemainder(dividingBy: layout.pieces)
      let (entry, kvHead) = place.quotientAndRemainder(dividingBy: problem.shape.kvHeads)
      let count = counts[entry]
      if count == 0 { continue }
      let head = RecurrentScratch.Head(entry, kvHead, piece: piece, layout)
      let state = states.base + place * layout.stateCount
      if count == 1 {
        scratch[worker].step(operands, head, state: state)
        continue
      }
      let geometry = MaskGeometry(
        queryLength: count, keyLength: count, offset: 0,
        causal: problem.geometry(batch: entry).causal)
      scratch[worker].run(
        RecurrentLayout.Walk(geometry, chunk: layout.chunk, keepsState: true), operands, head,
        state: state)
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
        advice: "\(name) keeps sums, out of which no token can be taken; only 0 is possible")
    }
    tokens[entry] = 0
    let perEntry = problem.shape.kvHeads * layout.stateCount
    (states.base + entry * perEntry).update(repeating: 0, count: perEntry)
  }
}
