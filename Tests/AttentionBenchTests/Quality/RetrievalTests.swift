import Attention
import AttentionBench
import MachineTopology
import RealModule
import Testing

@Suite struct RetrievalTests {
  private let team: WorkerTeam

  init() throws { team = try WorkerTeam(threads: 2) }

  private static func problem(
    n: Int, heads: Int = 2, causal: Bool = true, headDim: Int = 64
  ) throws -> AttentionProblem {
    try AttentionProblem(
      AttentionShape(heads: heads, kvHeads: 1, queryLength: n, headDim: headDim, valueDim: 48),
      visibility: Visibility(causal: causal))
  }

  private func result(
    _ strategy: String, _ task: RetrievalTask, registry: StrategyRegistry = .standard
  ) throws -> RetrievalResult {
    let runner = RetrievalRunner(team: team, memoryLimit: ByteCount(1 << 30))
    let outcomes = try runner.run(task, [registry.strategy(strategy)])
    guard case .measured(let result) = try #require(outcomes.first) else {
      throw TestFailure(description: "\(strategy) was not run")
    }
    return result
  }

  private struct TestFailure: Error, CustomStringConvertible { let description: String }

  @Test(arguments: ["full", "flash"], [false, true])
  func fullAttentionFindsEverything(strategy: String, causal: Bool) throws {
    let task = try RetrievalTask(Self.problem(n: 700, causal: causal), needles: 60, seed: 1)
    let result = try result(strategy, task)
    #expect(result.counts.allSatisfy { $0.needles == 60 && $0.found == 60 })
    #expect(result.counts.allSatisfy { $0.meanCosine > 0.9 })
    #expect(result.overallShare == 1)
  }

  @Test func aCausalWindowFindsWhatItSeesAndGuessesBeyond() throws {
    let task = try RetrievalTask(
      Self.problem(n: 600), distances: [1, 62, 63, 64, 65, 200, 299], needles: 80, seed: 2)
    let result = try result("window(64)", task)
    #expect(result.counts.prefix(3).allSatisfy { $0.share == 1 })
    #expect(result.counts.dropFirst(3).allSatisfy { $0.interval.lower <= task.chance })
  }

  @Test func aWindowToBothSidesIsReportedForEach() throws {
    let task = try RetrievalTask(
      Self.problem(n: 600, causal: false), distances: [10, 20, 30], needles: 50, seed: 3)
    #expect(
      task.bins.map(\.side) == [.before, .before, .before, .after, .after, .after])
    let result = try result("window(left: 20, right: 10)", task)
    let shares = result.counts.map { $0.share > 0.5 }
    #expect(shares == [true, true, false, true, false, false])
  }

  @Test func strideFindsItsMultiplesAndItsWindow() throws {
    let distances = [1, 31, 32, 33, 63, 64, 96, 100, 256, 257]
    let task = try RetrievalTask(
      Self.problem(n: 600), distances: distances, needles: 60, seed: 4)
    let result = try result("strided(32)", task)
    for (distance, count) in zip(distances, result.counts) {
      if distance <= 32 || distance.isMultiple(of: 32) {
        #expect(count.share == 1, "\(distance)")
      } else {
        #expect(count.interval.lower <= task.chance, "\(distance)")
      }
    }
  }

  /// Octaves draw their distances evenly: a stride finds its share and no more.
  @Test func octavesFavourNoStride() throws {
    let task = try RetrievalTask(Self.problem(n: 2000, heads: 1), needles: 200, seed: 5)
    let result = try result("strided(16)", task)
    for (bin, count) in zip(task.bins, result.counts) where bin.distances.lowerBound >= 32 {
      #expect(count.interval.lower < 1.0 / 16 && count.interval.upper > 1.0 / 16)
    }
  }

  /// Among few keys linear attention is better than guessing, and far from finding.
  @Test func linearAttentionBlurs() throws {
    let short = try RetrievalTask(Self.problem(n: 24), needles: 256, seed: 6)
    let few = try result("linear", short)
    #expect(few.overallShare > 2 * short.chance)
    #expect(few.overallShare < 0.6)
    let long = try RetrievalTask(Self.problem(n: 1500), needles: 128, seed: 6)
    let many = try result("linear", long)
    #expect(many.overallShare < few.overallShare)
    #expect(many.counts.allSatisfy { $0.meanCosine < 0.3 })
  }

  /// What the task promises: 0.9 of full attention's mass lies on the needle, on average.
  @Test(arguments: [24, 32, 64, 128])
  func needlesHaveTheMassThatIsPromised(headDim: Int) throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: 400, headDim: headDim, valueDim: 1))
    let task = try RetrievalTask(problem, needles: 30, seed: 7)
    let needles = try #require(task.rounds().first)
    let tensors = try task.tensors(round: 0, needles: needles, on: team)
    let oracle = SoftmaxOracle(full: task.problem)
    let masses = needles.map { needle in
      let row = oracle.row(
        InputViews(query: tensors.query.view, key: tensors.key.view, value: tensors.value.view),
        batch: 0,
        head: 0, row: needle.row)
      let score = (0..<headDim).reduce(0.0) { sum, column in
        sum + Double(tensors.query.elements[needle.row * headDim + column])
          * Double(tensors.key.elements[needle.key * headDim + column])
      }
      return Double.exp(score * Double(task.problem.scale) - row.logSumExp)
    }
    let mean = masses.reduce(0, +) / Double(masses.count)
    #expect(mean > 0.89 && mean < 0.97)
  }

  @Test func aSeedRepeatsAndAnotherDiffers() throws {
    let problem = try Self.problem(n: 300)
    let first = try result("linear", RetrievalTask(problem, needles: 100, seed: 8))
    #expect(
      try result("linear", RetrievalTask(problem, needles: 100, seed: 8)).counts == first.counts)
    #expect(
      try result("linear", RetrievalTask(problem, needles: 100, seed: 9)).counts != first.counts)
  }

  @Test func binsAreOctavesUpToHalfTheSequence() throws {
    let task = try RetrievalTask(Self.problem(n: 100), seed: 1)
    #expect(task.bins.map(\.distances) == [1...1, 2...3, 4...7, 8...15, 16...31, 32...50])
    #expect(task.bins.allSatisfy { $0.side == .before })
    #expect(task.chance == 0.01)
    #expect(try RetrievalTask(Self.problem(n: 1000), seed: 1).chance == 1.0 / 256)
    let decode = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: 1, keyLength: 64, headDim: 64))
    #expect(try RetrievalTask(decode, seed: 1).bins.last?.distances == 32...32)
  }

  /// A query that decodes: one row, many needles, a round each.
  @Test func oneQueryRowTakesOneNeedleARound() throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 2, queryLength: 1, keyLength: 64, headDim: 64),
      visibility: Visibility(causal: true))
    let task = try RetrievalTask(problem, needles: 8, seed: 2)
    let result = try result("flash", task)
    #expect(result.counts.map(\.needles).reduce(0, +) == 8 * task.bins.count)
    #expect(result.overallShare == 1)
  }

  @Test func whatCannotBePlantedIsRefused() throws {
    #expect(throws: PlanError.self) { try RetrievalTask(Self.problem(n: 1), seed: 1) }
    let few = #expect(throws: PlanError.self) {
      try RetrievalTask(Self.problem(n: 8000, headDim: 16), seed: 1)
    }
    #expect(few?.description.contains("use at least 23") == true)
    let far = #expect(throws: PlanError.self) {
      try RetrievalTask(Self.problem(n: 100), distances: [100], seed: 1)
    }
    #expect(far?.description.contains("from 1 to 99") == true)
    let ahead = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: 10, headDim: 64),
      visibility: Visibility(offset: .fixed(3)))
    #expect(throws: PlanError.self) { try RetrievalTask(ahead, seed: 1) }
  }

  @Test func whatWritesNoNumbersFindsNothing() throws {
    let task = try RetrievalTask(Self.problem(n: 200), needles: 20, seed: 10)
    let registry = StrategyRegistry.standard.adding(Blank.family)
    let result = try result("blank", task, registry: registry)
    #expect(result.counts.allSatisfy { $0.needles == 20 && $0.found == 0 && $0.meanCosine == 0 })
  }

  @Test func whatNeedsTooMuchMemoryIsNotRun() throws {
    let task = try RetrievalTask(Self.problem(n: 300), needles: 20, seed: 11)
    let registry = StrategyRegistry.standard
    let runner = RetrievalRunner(
      team: team, memoryLimit: ByteCount(task.problem.tensorBytes))
    let outcomes = try runner.run(task, registry.strategies("full"))
    guard case .notRun("full", let reason) = try #require(outcomes.first) else {
      Issue.record("it was run")
      return
    }
    #expect(reason.contains("memory"))
  }

  @Test func aRaisedFlagEndsTheSearch() throws {
    let task = try RetrievalTask(Self.problem(n: 300), needles: 20, seed: 12)
    let stop = StopFlag()
    stop.raise()
    let outcomes = try RetrievalRunner(team: team, memoryLimit: ByteCount(1 << 30))
      .run(task, StrategyRegistry.standard.strategies("flash"), stop: stop)
    guard case .measured(let result) = try #require(outcomes.first) else { return }
    #expect(result.counts.allSatisfy { $0.needles == 0 && $0.share == 0 })
  }

  @Test func theFileHasARowForEachBinAndTheFigureAPoint() throws {
    let task = try RetrievalTask(
      Self.problem(n: 300, causal: false), distances: [4, 64], needles: 30, seed: 13)
    let results = [try result("window(16, sinks: 2)", task), try result("flash", task)]
    let lines = RetrievalFile.text(results, of: task).split(separator: "\n")
    #expect(lines.count == 1 + 2 * 4)
    #expect(lines[0] == RetrievalFile.header.joined(separator: ",")[...])
    #expect(
      lines[1].hasPrefix(
        "window,\"16, sinks: 2\",restricted,2,1,300,300,64,48,false,13,before,4,4,"))
    let figure = try #require(Figure.retrieval(results, of: task))
    #expect(
      figure.curves.map(\.label) == [
        "flash, before", "flash, after", "window(16, sinks: 2), before",
        "window(16, sinks: 2), after",
      ])
    #expect(figure.curves[0].points.map(\.n) == [4, 64])
    #expect(figure.curves[0].points.allSatisfy { $0.value == 100 && $0.low < 100 })
    let script = GnuplotScript(figure, formats: [.svg]).text
    #expect(script.contains("set xlabel 'distance from the query, positions'"))
    #expect(Figure.retrieval([], of: task) == nil)
  }
}

/// Writes NaN.
private struct Blank: FaultyStrategy {
  static let name = "blank"
  init(_ arguments: StrategyArguments) throws(AttentionError) {}
  static func spoil(_ operands: AttentionOperands) {
    for index in 0..<operands.output.reading.shape.count { operands.output.base[index] = .nan }
  }
}
