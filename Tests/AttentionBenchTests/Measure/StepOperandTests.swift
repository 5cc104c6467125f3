import Attention
import AttentionBench
import MachineTopology
import Testing

/// Operands in a step of decoding, cut along the axes that a strategy declares.
@Suite struct StepOperandTests {
  @Test func rowsOfKeysComeWithTheirTokensAndRowsOfQueriesWithTheQueries() throws {
    let shape = try AttentionShape(
      batch: 2, heads: 2, kvHeads: 1, queryLength: 3, keyLength: 150, headDim: 4)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let placement = SweepPlacement(threads: 1, binding: .none)
    let executor = try AttentionExecutor(
      placements: [placement], inputs: .normal(seed: 1), seed: 1, topology: .host())
    try executor.load(problem)
    let watched = Watched(inner: try StrategyRegistry.standard.strategy("flash"))
    let cell = SweepPlan(
      sizes: [150], strategies: [watched], placements: [placement], seed: 1
    ) { _ in problem }.cells[0]

    let prepared = try executor.prepare(cell)
    for _ in 0..<2 {
      prepared.arm()
      try prepared.run()
      #expect(try prepared.check().fault == nil)
    }
    let cacheBytes = 4 * 2 * 150 * (4 + 4)
    #expect(prepared.workspaceBytes ?? 0 >= cacheBytes)
    #expect(try cell.work.get().workspaceBytes >= cacheBytes + 4 * 2 * 150 * 4)

    let whole = try executor.loadedTensors().values(for: watched).named.mapValues(\.view)
    let steps = watched.log.steps
    #expect(steps.map(\.tokens) == [0..<64, 64..<128, 128..<147, 147..<150, 147..<150])
    for step in steps {
      let rows = try #require(step.named["row_mark"])
      let columns = try #require(step.named["key_mark"])
      let weights = try #require(step.named["weights"])
      let (all, marks) = (try #require(whole["key_mark"]), try #require(whole["row_mark"]))
      #expect(columns.shape == (try TensorShape(2, 1, 4, step.tokens.count)))
      #expect(rows.shape == (try TensorShape(2, 2, step.tokens.count, 1)))
      #expect(weights.shape == (try TensorShape(1, 4, 1, 1)))
      for batch in 0..<2 {
        for column in 0..<4 {
          #expect(
            columns.floats(batch, 0, column).elementsEqual(
              all.floats(batch, 0, column)[step.tokens]))
        }
        for (head, row) in [(0, 0), (1, step.tokens.count - 1)] {
          let mark = rows.floats(batch, head, row)[0]
          #expect((0...1).contains(mark))
          if step.tokens.count == 3 { #expect(mark == marks.floats(batch, head, row)[0]) }
        }
      }
    }
  }

  /// What belongs to keys and has no decoder that keeps it cannot be decoded.
  @Test func whatNoDecoderKeepsIsRefused() throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: 1, keyLength: 9, headDim: 4))
    let placement = SweepPlacement(threads: 1, binding: .none)
    let executor = try AttentionExecutor(
      placements: [placement], inputs: .normal(seed: 1), seed: 1, topology: .host())
    try executor.load(problem)
    let watched = Watched(inner: try StrategyRegistry.standard.strategy("flash"), decodes: false)
    let cell = SweepPlan(
      sizes: [9], strategies: [watched], placements: [placement], seed: 1
    ) { _ in problem }.cells[0]
    let error = #expect(throws: AttentionError.self) { try executor.prepare(cell) }
    #expect(error?.argument == "key_mark", "\(error?.description ?? "")")
  }
}

/// What the steps of a decoder were given; used by one thread.
private final class StepLog: @unchecked Sendable {
  var steps: [(tokens: Range<Int>, named: [String: TensorView])] = []
}

/// Another strategy that takes operands, and makes nothing of them.
private struct Watched: AttentionStrategy {
  let inner: any AttentionStrategy
  var decodes = true
  let log = StepLog()

  var name: String { "watched" }
  var operatorClass: OperatorClass { inner.operatorClass }
  var operands: [OperandDeclaration] {
    func operand(_ name: String, _ axes: [OperandAxis]) -> OperandDeclaration {
      OperandDeclaration(name, axes: axes, meaning: "a number", domain: 0...1) { Float($0) }
    }
    return [
      operand("row_mark", [.batch, .heads, .queryLength]),
      operand("key_mark", [.batch, .kvHeads, .headDim, .keyLength]),
      operand("weights", [.size(1), .headDim]),
    ]
  }

  func resolvedParameters(for problem: AttentionProblem) -> String { "" }

  func work(for problem: AttentionProblem, threads: Int) throws(AttentionError) -> WorkEstimate {
    try inner.work(for: problem, threads: threads)
  }

  func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan { try inner.plan(for: problem, on: team) }

  func decoder(
    for problem: AttentionProblem, cache: CacheChoice, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionDecoder {
    if !decodes {
      return try CachedDecoder(self, for: problem, cache: cache.cache(for: problem), on: team)
    }
    return WatchedDecoder(
      try inner.decoder(for: problem, cache: cache, on: team), operands, log)
  }
}

private final class WatchedDecoder: AttentionDecoder {
  private let inner: any AttentionDecoder
  let declaredOperands: [OperandDeclaration]
  private let log: StepLog

  init(_ inner: any AttentionDecoder, _ operands: [OperandDeclaration], _ log: StepLog) {
    (self.inner, declaredOperands, self.log) = (inner, operands, log)
  }

  var problem: AttentionProblem { inner.problem }
  var tokens: [Int] { inner.tokens }
  var cacheBytes: Int { inner.cacheBytes }
  var workspaceBytes: Int { inner.workspaceBytes }
  func prepare(newTokens count: Int) throws(AttentionError) { try inner.prepare(newTokens: count) }
  func truncate(entry: Int, to count: Int) throws(AttentionError) {
    try inner.truncate(entry: entry, to: count)
  }
  func mark() throws(AttentionError) { try inner.mark() }
  func rewind() throws(AttentionError) { try inner.rewind() }

  func step(_ operands: AttentionOperands, newTokens: [Int]?) throws(AttentionError) {
    let first = tokens[0]
    log.steps.append((first..<first + operands.query.shape.rows, operands.inputs.named))
    var operands = operands
    operands.inputs.named = [:]
    try inner.step(operands, newTokens: newTokens)
  }
}
