import Attention
import AttentionBench
import Testing

/// Choices where every time and every error is made up: windows cost their width and lose its
/// inverse, flash costs 4096 and loses nothing.
@Suite struct ChoiceEngineTests {
  private func choice(heads: Int = 4) -> FakeChoice {
    var choice = FakeChoice()
    choice.heads = heads
    choice.series = [
      ["flash"], SearchDensity.search.sizes(from: 16, through: 4096).map { "window(\($0))" },
    ]
    let executor = choice.executor
    executor.inner.seconds = { cell, _ in
      Self.cost(cell.strategy, cell.problem) * Double(cell.problem.shape.heads)
    }
    executor.errors = { strategy, problem in
      (0..<problem.shape.heads).map { Self.error(strategy, problem, head: $0) }
    }
    return choice
  }

  /// Seconds a head.
  private static func cost(
    _ strategy: any AttentionStrategy, _ problem: AttentionProblem
  ) -> Double {
    if let mix = strategy as? MixedAttention {
      let total = mix.strategies.reduce(0) { $0 + cost($1, problem) }
      return total / Double(mix.strategies.count)
    }
    let width = strategy.firstNumber(problem)
    return 1e-6 * Double(width == 0 ? 4096 : 100 + width)
  }

  /// Head h loses 4^h / w.
  private static func error(
    _ strategy: any AttentionStrategy, _ problem: AttentionProblem, head: Int
  ) -> Double {
    if let mix = strategy as? MixedAttention {
      return error(mix.strategies[head], problem, head: head)
    }
    let width = strategy.firstNumber(problem)
    return width == 0 ? 3e-7 : Double(1 << (2 * head)) / Double(width)
  }

  @Test func theCheapestParameterIsFound() throws {
    let choice = choice(heads: 1)
    let result = try #require(try choice.engine().run())
    // The first of the sizes that is at least 100.
    #expect(result.choice == "window(103)")
    #expect(result.verdict == .admissible)
    #expect(choice.executor.rows == .automatic)
    let chosen = try #require(result.candidates.first { $0.strategy == "window(103)" })
    #expect(chosen.status == .ok && chosen.samples >= 5)
    #expect(chosen.rowsChecked == 10 && chosen.rows == 10)
  }

  /// Something had the cores for as long as the right candidate was looked at.
  @Test func oneDisturbedLookDoesNotDecide() throws {
    let choice = choice(heads: 1)
    let executor = choice.executor.inner
    executor.seconds = { cell, _ in
      let looks = executor.log.filter { $0 == "prepare \(cell.id)" }.count
      let isDisturbed = cell.strategy.firstNumber(cell.problem) == 103 && looks == 1
      return Self.cost(cell.strategy, cell.problem) * (isDisturbed ? 2.5 : 1)
    }
    #expect(try choice.engine().run()?.choice == "window(103)")
  }

  @Test func eachCandidateIsLookedAtOnce() throws {
    let choice = choice()
    _ = try choice.engine().run()
    #expect(Set(choice.executor.looks).count == choice.executor.looks.count)
    #expect(choice.executor.looks.count < 15)
  }

  @Test func theWorstHeadDecidesWhereEachMustKeepToTheError() throws {
    var choice = choice(heads: 3)
    choice.requirements = Requirements(maximumError: 0.1, holdsForEachHead: true)
    // 16 / w <= 0.1 asks for 160; over all heads together fewer keys would do.
    #expect(try choice.engine().run()?.choice == "window(166)")
    choice.requirements.holdsForEachHead = false
    #expect(try choice.engine().run()?.choice == "window(99)")
  }

  @Test func aStoppedChoiceIsNone() throws {
    let choice = choice()
    choice.stop.raise()
    #expect(try choice.engine().run() == nil)
    #expect(try choice.engine().runPerHead() == nil)
  }

  @Test func everyHeadGetsItsCheapest() throws {
    var choice = choice(heads: 4)
    choice.requirements = Requirements(maximumError: 0.1, holdsForEachHead: true)
    let result = try #require(try choice.engine().runPerHead())
    // At least 10, 40, 160 and 640 keys.
    #expect(
      result.heads.map(\.strategy) == ["window(16)", "window(40)", "window(166)", "window(664)"])
    #expect(result.heads.allSatisfy { $0.isAdmissible && $0.relativeError <= 0.1 })
    #expect(result.single.choice == "window(664)")
    #expect(result.plan == result.heads.map(\.strategy))
    #expect(result.usesMix && result.misses.isEmpty)
    let expected = 4 * 764.0 / (116 + 140 + 266 + 764)
    #expect(abs((result.speedup ?? 0) - expected) < 1e-6)
    #expect(abs(result.heads.reduce(0) { $0 + $1.timeShare } - 1) < 1e-9)
    #expect(result.mix.operatorClass == "restricted")
  }

  @Test func aMixThatIsNotFasterIsNotTheChoice() throws {
    var choice = choice(heads: 2)
    choice.requirements = Requirements(maximumError: 0.1, holdsForEachHead: true)
    choice.executor.inner.seconds = { cell, _ in
      cell.strategy is MixedAttention
        ? 1 : Self.cost(cell.strategy, cell.problem) * Double(cell.problem.shape.heads)
    }
    let result = try #require(try choice.engine().runPerHead())
    #expect(!result.usesMix)
    #expect(result.plan == ["window(40)", "window(40)"])
  }

  @Test func aHeadThatNothingServesGetsTheNearestAndSaysSo() throws {
    var choice = choice(heads: 2)
    choice.requirements = Requirements(maximumError: 1e-4, holdsForEachHead: true)
    choice.executor.errors = { strategy, problem in
      [Self.error(strategy, problem, head: 0), 0.5]
    }
    let result = try #require(try choice.engine().runPerHead())
    #expect(result.heads.map(\.isAdmissible) == [true, false])
    #expect(result.single.verdict == .nearestMiss)
    #expect(result.misses.map(\.requirement) == ["error"])
  }

  @Test func aWrongOutputIsNoCandidate() throws {
    let choice = choice(heads: 1)
    choice.executor.inner.check = { cell, _ in
      OutputCheck(accuracy: .init(), fault: cell.spec == "window(103)" ? "off by one" : nil)
    }
    let result = try #require(try choice.engine().run())
    let wrong = try #require(result.candidates.first { $0.strategy == "window(103)" })
    #expect(wrong.status == .wrong && wrong.reason == "off by one" && wrong.seconds == nil)
    #expect(result.choice == "window(108)")
  }

  /// Right in the search, wrong in a later run: its first times are not believed either.
  @Test func whatTurnsOutWrongIsNotChosen() throws {
    let fake = choice(heads: 1)
    let executor = fake.executor.inner
    executor.check = { cell, _ in
      let isAgain = executor.log.filter { $0 == "prepare \(cell.id)" }.count > 1
      return OutputCheck(
        accuracy: .init(), fault: cell.spec == "window(103)" && isAgain ? "torn" : nil)
    }
    let result = try #require(try fake.engine().run())
    #expect(result.candidates.first { $0.strategy == "window(103)" }?.status == .wrong)
    let choice = try #require(result.choice)
    #expect(choice.hasPrefix("window(") && choice != "window(103)")
    #expect(result.candidates.first { $0.strategy == choice }?.status == .ok)
  }

  /// A search that took all of the budget: what it has come to is run and timed all the same.
  @Test func aSpentBudgetStillMakesAPlan() throws {
    var choice = choice(heads: 4)
    choice.requirements = Requirements(maximumError: 0.1, holdsForEachHead: true)
    choice.limits.budget = 20
    let (executor, clock) = (choice.executor.inner, choice.clock)
    let seconds = executor.seconds
    // Other processes have the cores: every fifth run takes three seconds.
    executor.seconds = { cell, count in
      if executor.runs.count % 5 == 0 { clock.advance(3) }
      return seconds(cell, count)
    }
    let result = try #require(try choice.engine().runPerHead())
    #expect(Double(clock.now()) / 1e9 > 20)
    #expect(result.mix.seconds != nil && result.plan.count == 4)
  }

  @Test func withoutAMeasuredCandidateThereIsAReason() throws {
    let choice = choice(heads: 2)
    choice.executor.inner.check = { _, _ in OutputCheck(accuracy: .init(), fault: "all zeros") }
    let error = #expect(throws: NoPlanError.self) { try choice.engine().runPerHead() }
    let text = try #require(error?.description)
    #expect(text.hasPrefix("no candidate could be measured: "))
    #expect(text.contains("flash wrong, all zeros"))
  }

  @Test func amongEqualCostsAHeadTakesTheExactOption() {
    let options = [
      HeadAssignment.Option(strategy: "window", cost: 1, spread: 0.9...1.1, errors: [1e-3, 0.5]),
      HeadAssignment.Option(strategy: "sinks", cost: 1.1, spread: 1...1.2, errors: [1e-4, 1e-3]),
      HeadAssignment.Option(
        strategy: "flash", cost: 1.15, spread: 1.05...1.2, isExact: true, errors: [1e-7, 1e-7]),
      HeadAssignment.Option(
        strategy: "full", cost: 2, spread: 1.9...2.1, isExact: true, errors: [1e-7, 1e-7]),
    ]
    #expect(HeadAssignment(heads: 2, options: options, limit: 1e-2).choice == [2, 2])
    let restricted = Array(options.prefix(2))
    #expect(HeadAssignment(heads: 2, options: restricted, limit: 1e-2).choice == [1, 1])
  }

  @Test func headsTakeTheCheapestOptionWithinTheLimit() {
    let options = [
      HeadAssignment.Option(strategy: "dear", cost: 3, errors: [0, 0, 0]),
      HeadAssignment.Option(strategy: "fair", cost: 2, errors: [0.1, 0.01, 0.5]),
      HeadAssignment.Option(strategy: "same", cost: 2, errors: [0.2, 0.005, 0.5]),
    ]
    #expect(HeadAssignment(heads: 3, options: options, limit: 0.05).choice == [0, 2, 0])
    #expect(HeadAssignment(heads: 3, options: options, limit: nil).choice == [1, 2, 1])
    let bad = Array(options.dropFirst())
    #expect(HeadAssignment(heads: 3, options: bad, limit: 1e-3).choice == [0, 1, 0])
  }

  /// However little the beginning leaves of a budget, one that a run fits into is spent on one; and where it
  /// went is said.
  @Test("A budget that the beginning has eaten up still measures something, and has an account")
  func shortBudget() throws {
    var choice = FakeChoice()
    choice.series = [["flash"], ["window(64)", "window(128)"]]
    choice.limits.budget = 1
    choice.limits.wording.budget = "1s"
    choice.executor.inner.burstSeconds = 0.25
    choice.executor.referenceSeconds = 0.5
    choice.executor.inner.seconds = { _, _ in 0.1 }
    let engine = try choice.engine()
    let result = try #require(try engine.run())
    #expect(result.candidates.contains { $0.seconds != nil })
    #expect(result.candidates.contains { $0.status == .skippedTime })
    let account = try #require(engine.budgetAccount)
    for text in [
      "--budget 1s was too short", "60%", "750 ms on the machine's peak",
      "500 ms on full attention as a reference", "looks at candidates", "a longer --budget",
    ] { #expect(account.contains(text), "\(account)") }

    // What was measured all the same and took longer has one, too.
    var slow = FakeChoice()
    slow.series = [["flash"]]
    slow.limits = choice.limits
    slow.executor.referenceSeconds = 5
    let late = try slow.engine()
    #expect(try late.run()?.choice == "flash")
    #expect(late.budgetAccount?.contains("5.00 s on full attention as a reference") == true)

    var ample = FakeChoice()
    ample.series = choice.series
    ample.limits.budget = 100
    let rich = try ample.engine()
    _ = try rich.run()
    #expect(rich.budgetAccount == nil)
  }

  @Test("A budget that no run fits into measures nothing, and says that it is that short")
  func noBudget() throws {
    var choice = FakeChoice()
    choice.series = [["flash"]]
    choice.limits.budget = 1e-6
    choice.limits.wording.budget = "1us"
    let engine = try choice.engine()
    let result = try #require(try engine.run())
    #expect(result.verdict == .none)
    #expect(engine.budgetAccount?.contains("--budget 1us was too short") == true)
  }
}
