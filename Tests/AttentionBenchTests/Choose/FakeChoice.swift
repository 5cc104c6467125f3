import Attention
import AttentionBench

/// Candidates whose times and errors are made up: what a choice is asked, without measuring.
final class FakeChoiceExecutor: ChoiceExecutor {
  let inner: FakeExecutor
  /// The error of a strategy on each head.
  var errors: (any AttentionStrategy, AttentionProblem) -> [Double] = { _, problem in
    Array(repeating: 0, count: problem.shape.heads)
  }
  private(set) var rows: ErrorRows?
  private(set) var exact: String?
  /// Seconds that full attention takes as a reference, beside its strategy's time.
  var referenceSeconds = 0.0
  private(set) var looks: [String] = []
  private var last: SweepCell?

  init(_ inner: FakeExecutor) { self.inner = inner }

  func load(_ problem: AttentionProblem) throws { try inner.load(problem) }
  func unload() { inner.unload() }

  func prepare(_ cell: SweepCell) throws -> any PreparedCell {
    last = cell
    return try inner.prepare(cell)
  }

  func flopRate(on placement: SweepPlacement, in arithmetic: Arithmetic) throws -> Double {
    try inner.flopRate(on: placement, in: arithmetic)
  }

  var caches: CacheCapacities { inner.caches }

  func readRate(on placement: SweepPlacement) throws -> Double? {
    try inner.readRate(on: placement)
  }

  func readRate(on placement: SweepPlacement, of set: WorkingSet) throws -> Double? {
    try inner.readRate(on: placement, of: set)
  }

  func blasRate(on placement: SweepPlacement) throws -> Double {
    try inner.blasRate(on: placement)
  }

  func prepareReference(
    rows: ErrorRows, exact: (any AttentionStrategy)?, placement: SweepPlacement, seed: UInt64
  ) throws -> String? {
    self.rows = rows
    self.exact = exact.map { $0.name }
    inner.clock.advance(referenceSeconds)
    return nil
  }

  func clearOutput() throws {}

  func headErrors() throws -> HeadErrors {
    guard let last else { throw FakeFailure(description: "nothing has run") }
    looks.append(last.spec)
    let heads = errors(last.strategy, last.problem)
    let whole = (heads.reduce(0) { $0 + $1 * $1 } / Double(heads.count)).squareRoot()
    return HeadErrors(
      whole: .init(exactly: whole), heads: heads.map { .init(exactly: $0) },
      rowsChecked: 10 * heads.count, rows: 10 * heads.count)
  }
}

/// A choice on fakes: change what a test is about, then `run` or `runPerHead`.
struct FakeChoice {
  var heads = 4
  var n = 4096
  var requirements = Requirements(maximumError: 1e-2)
  var limits = SweepLimits()
  var series: [[String]] = []
  let stop = StopFlag()
  let clock = FakeClock()
  let probe: FakeProbe
  let executor: FakeChoiceExecutor

  init() {
    probe = FakeProbe(clock)
    executor = FakeChoiceExecutor(FakeExecutor(clock: clock, probe: probe))
  }

  func problem() throws -> AttentionProblem {
    try AttentionProblem(
      AttentionShape(heads: heads, queryLength: n, headDim: 64),
      visibility: Visibility(causal: true))
  }

  func engine(emit: @escaping (ChoiceEvent) -> Void = { _ in }) throws -> ChoiceEngine {
    let question = ChoiceEngine.Question(
      problem: try problem(), placement: SweepPlacement(threads: 2, binding: .none),
      series: try series.map { texts in
        try texts.map { try StrategyRegistry.standard.strategy($0) }
      }, requirements: requirements)
    return ChoiceEngine(
      question, limits: limits,
      instruments: ChoiceEngine.Instruments(executor: executor, clock: clock, probe: probe),
      labels: RowLabels(
        runID: "r", build: ResultRow.Build(blasCore: "SkylakeX", isa: "avx512")), stop: stop,
      emit: emit)
  }
}

extension AttentionStrategy {
  /// The first number of its parameters: `window(512, sinks: 4)` has 512; 0 without one.
  func firstNumber(_ problem: AttentionProblem) -> Int {
    let digits = resolvedParameters(for: problem).drop { !$0.isNumber }.prefix { $0.isNumber }
    return Int(digits) ?? 0
  }
}
