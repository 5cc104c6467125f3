import Attention
import AttentionBench
import Testing

/// Choices at a size where one run of full attention takes seconds, on a made-up machine that takes
/// for all strategies what their operations and their kernels' shares of the peak make of it.
@Suite struct LongChoiceTests {
  /// What the choice is made of: every family's own series at n = 32k, causal.
  ///
  /// - Parameter error: of a strategy; by default what random tensors give, more than all that is
  ///   asked unless it is exact.
  private static func choice(
    budget: Double = 60,
    error: @escaping (any AttentionStrategy, AttentionProblem) -> Double = { strategy, _ in
      strategy.operatorClass == .exact ? 3e-7 : 13
    }
  ) throws -> FakeChoice {
    var choice = FakeChoice()
    (choice.heads, choice.n) = (8, 32_000)
    choice.limits.budget = budget
    let problem = try choice.problem()
    choice.series = try StrategyRegistry.standard.candidateSeries(for: problem)
      .map { series in series.map { $0.spec(for: problem) } }
    let (executor, clock) = (choice.executor, choice.clock)
    executor.referenceSeconds = 1.5
    executor.errors = { strategy, problem in
      Array(repeating: error(strategy, problem), count: problem.shape.heads)
    }
    executor.inner.seconds = { cell, _ in seconds(cell) }
    executor.inner.check = { cell, _ in
      // Checking its own definition takes time too.
      clock.advance(cell.n > 10_000 ? 0.2 : 0.01)
      return OutputCheck(accuracy: .init())
    }
    return choice
  }

  private static func seconds(_ cell: SweepCell) -> Double {
    let shares = ["flash": 0.8, "full": 0.6, "window": 0.75, "linear": 0.45]
    let share = shares[cell.strategy.name] ?? 0.4
    let flops = (try? cell.work.get().flops) ?? 0
    return 1e-5 + Double(flops) / (share * 200e9)
  }

  /// The same on a machine that something else keeps busy from the beginning: everything takes longer, and
  /// bursts, short as they are, have not shown it.
  @Test(arguments: [1.0, 1.5, 2, 3, 5, 8])
  func theFirstTableComesInTimeOnABusyMachineToo(slowness: Double) throws {
    let choice = try Self.choice()
    let (executor, clock) = (choice.executor, choice.clock)
    executor.inner.burstSeconds = 0.03 * slowness
    executor.referenceSeconds = 1.5 * slowness
    executor.inner.seconds = { cell, _ in slowness * Self.seconds(cell) }
    executor.inner.check = { cell, _ in
      clock.advance(slowness * (cell.n > 10_000 ? 0.2 : 0.01))
      return OutputCheck(accuracy: .init())
    }
    let start = clock.now()
    var tables: [(seconds: Double, table: Recommendation)] = []
    let engine = try choice.engine { event in
      guard case .firstTable(let table) = event else { return }
      tables.append((Double(clock.now() - start) / 1e9, table))
    }
    _ = try engine.run()
    let (seconds, table) = try #require(tables.first)
    #expect(tables.count == 1)
    #expect(seconds <= 10, "\(seconds) s")
    let measured = table.candidates.filter { $0.seconds != nil }
    #expect(!measured.isEmpty, "\(seconds) s: \(table.candidates.map(\.strategy))")
    // What nobody has looked at has no error, right or wrong, and is looked at later.
    for candidate in measured where candidate.reason == Candidate.unchecked {
      #expect(candidate.relativeError == nil)
    }
    #expect(engine.recommendation.candidates.allSatisfy { $0.reason != Candidate.unchecked })
  }

  private static func run(
    _ choice: FakeChoice
  ) throws -> (result: Recommendation, firstTable: Double?, seconds: Double) {
    let clock = choice.clock
    let start = clock.now()
    func elapsed() -> Double { Double(clock.now() - start) / 1e9 }
    var tables: [(seconds: Double, table: Recommendation)] = []
    let engine = try choice.engine { event in
      if case .firstTable(let table) = event { tables.append((elapsed(), table)) }
    }
    let result = try #require(try engine.run())
    let seconds = elapsed()
    if let table = tables.first?.table, choice.series.count > 2 {
      // Something to choose from, full attention with the time it has or is going to take.
      let measured = table.candidates.filter { $0.seconds != nil }
      #expect(measured.count > 5)
      let flash = table.candidates.first { $0.strategy == "flash" }
      let time = flash?.seconds ?? flash?.predictedSeconds ?? 0
      #expect((3...15).contains(time))
    }
    #expect(tables.count <= 1)
    return (result, tables.first?.seconds, seconds)
  }

  @Test func theDefaultEndsInTimeWithTheExactChoice() throws {
    let choice = try Self.choice()
    let (result, firstTable, seconds) = try Self.run(choice)
    #expect(result.choice == "flash" && result.verdict == .admissible)
    #expect(try #require(firstTable) <= 10)
    #expect(seconds <= 60, "\(seconds) s")
    // What takes longer than flash has not been run, and says what it would take.
    let exact = try #require(result.candidates.first { $0.strategy == "full" })
    #expect(exact.seconds == nil && exact.status == .skippedTime)
    #expect(try #require(exact.predictedSeconds) > 8)
    #expect(exact.reason.contains("no faster than"))
    let flash = try #require(result.candidates.first { $0.strategy == "flash" }?.seconds)
    for candidate in result.candidates { #expect(candidate.seconds ?? 0 <= 1.1 * flash) }
    // Errors on all rows would have cost another run of flash.
    #expect(choice.executor.exact == nil)
  }

  /// Tensors on which a window of 5000 is enough: found nearly within a minute, and exactly in ten.
  @Test(arguments: [(60.0, 1.5), (600.0, 1.05)])
  func aCheaperOneIsFoundInTime(budget: Double, tolerance: Double) throws {
    let choice = try Self.choice(budget: budget) { strategy, problem in
      if strategy.operatorClass == .exact { return 3e-7 }
      let width = strategy.firstNumber(problem)
      return strategy.name == "window" ? 50 / Double(width) : 5
    }
    let (result, firstTable, seconds) = try Self.run(choice)
    let chosen = try #require(result.choice)
    #expect(chosen.hasPrefix("window("), "\(seconds) s: \(choice.executor.looks)")
    let digits = chosen.drop { !$0.isNumber }.prefix { $0.isNumber }
    let width = Double(digits) ?? 0
    #expect(width >= 5000)
    #expect(width <= 5000 * tolerance, "\(chosen)")
    #expect(seconds <= budget, "\(seconds) s")
    let shown = try #require(firstTable)
    #expect(shown <= 10)
  }

  @Test func aLongerBudgetLooksAtMore() throws {
    func looks(_ budget: Double) throws -> Int {
      let choice = try Self.choice(budget: budget)
      _ = try Self.run(choice)
      return choice.executor.looks.count
    }
    #expect(try looks(600) > looks(60))
  }

  /// Without an exact strategy among the candidates nothing is passed over for being slower than one.
  @Test func namedCandidatesAreAllLookedAt() throws {
    var choice = try Self.choice()
    choice.series = [["window(2000)"], ["window(8000)"]]
    let (result, _, _) = try Self.run(choice)
    #expect(result.verdict == .nearestMiss)
    #expect(result.candidates.allSatisfy { $0.seconds != nil })
  }
}
