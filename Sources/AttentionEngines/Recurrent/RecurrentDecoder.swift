import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// Decoding with a recurrence: a state of m dV numbers for each key/value head is all that is kept of the
/// past, however long it is.
///
/// A token gets what its row of the whole sequence gives, causal or not. Steps of several tokens are worked
/// off in chunks like a prompt. Work O(m dV) and memory O(1) a token. Heads and panels of value columns are
/// dealt to the workers, each getting those that it had before; the bits do not depend on their number.
package final class RecurrentDecoder: AttentionDecoder, TeamJob, @unchecked Sendable {
  package let problem: AttentionProblem
  package let declaredOperands: [OperandDeclaration]
  package private(set) var tokens: [Int]
  private let name: String
  private let team: WorkerTeam
  private let layout: RecurrentLayout
  private let scratch: PerWorker<RecurrentScratch>
  /// `[b * hKV]` states.
  private let states: AlignedFloats
  /// Those at the mark, and the tokens that they had taken in.
  private var marked: Mark?
  private let queue: HomeTaskQueue
  // Set for the time of a job; read by all workers.
  private var task = Task.step
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
    queue = HomeTaskQueue(workers: team.threadCount)
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
    states = try AlignedFloats(
      count: layout.headCount * layout.stateCount, for: "state", touched: true)
    tokens = Array(repeating: 0, count: shape.batch)
    counts = tokens
  }

  private final class Mark {
    let states: AlignedFloats
    var tokens: [Int]

    init(count: Int, tokens: [Int]) throws(AttentionError) {
      states = try AlignedFloats(count: count, for: "state", touched: true)
      self.tokens = tokens
    }
  }

  /// What workers do: take tokens in, or copy states.
  private enum Task {
    case step
    case mark
    case rewind
  }

  package var workspaceBytes: Int {
    layout.workspaceBytes + (marked == nil ? 0 : 4 * layout.headCount * layout.stateCount)
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
    withExtendedLifetime(operands) { run(.step) }
    self.operands = nil
    for entry in counts.indices { tokens[entry] += counts[entry] }
  }

  private func run(_ task: Task) {
    self.task = task
    queue.reset(count: layout.headCount * layout.pieces)
    team.run(self)
  }

  package func work(worker: Int) {
    switch task {
    case .step: step(worker: worker)
    case .mark, .rewind: copy(back: task == .rewind, worker: worker)
    }
  }

  private func step(worker: Int) {
    guard let operands else { return }
    scratch[worker].open(operands)
    while let task = queue.next(for: worker) {
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

  package func mark() throws(AttentionError) {
    if let marked {
      marked.tokens = tokens
    } else {
      marked = try Mark(count: layout.headCount * layout.stateCount, tokens: tokens)
    }
    run(.mark)
  }

  package func rewind() throws(AttentionError) {
    guard let marked else { throw .noMark }
    tokens = marked.tokens
    run(.rewind)
  }

  private func copy(back: Bool, worker: Int) {
    guard let marked else { return }
    while let task = queue.next(for: worker) {
      let (place, piece) = task.quotientAndRemainder(dividingBy: layout.pieces)
      for part in layout.parts(of: piece) {
        let first = place * layout.stateCount + part.lowerBound
        let (own, kept) = (states.base + first, marked.states.base + first)
        (back ? own : kept).update(from: back ? kept : own, count: part.count)
      }
    }
  }
}
