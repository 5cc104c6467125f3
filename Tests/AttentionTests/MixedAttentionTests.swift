import Attention
import AttentionTestSupport
import Testing

/// A mix gives each head what its strategy gives, whatever runs beside it.
@Suite struct MixedAttentionTests {
  private static let texts = [
    "flash", "window(9, sinks: 2)", "strided(5)", "full", "linear", "blockdiagonal(13)",
    "fixed(8, 3)",
  ]

  /// Strategies for heads by their places in `texts`.
  private static func mix(_ places: [Int]) throws -> MixedAttention {
    try MixedAttention(places.map { try Specimen.registry.strategy(texts[$0]) })
  }

  /// A strategy's own run on some heads of one key/value head and batch entry, copied out.
  ///
  /// On one worker: linear attention cuts causal heads into segments where workers outnumber them,
  /// which changes its last bits, so all comparisons take one.
  private static func alone(
    _ place: Int, heads: [Int], batch: Int, _ problem: AttentionProblem, _ inputs: TestInputs
  ) throws -> TestOutputs {
    let shape = problem.shape
    let own = try AttentionProblem(
      AttentionShape(
        heads: heads.count, kvHeads: 1, queryLength: shape.queryLength,
        keyLength: shape.keyLength, headDim: shape.headDim, valueDim: shape.valueDim),
      visibility: Visibility(causal: problem.visibility.causal))
    let part = TestInputs(own, seed: 0)
    let kvHead = heads[0] / shape.groupSize
    part.query.fill { inputs.query[batch, heads[$1], $2, $3] }
    part.key.fill { inputs.key[batch, kvHead, $2, $3] }
    part.value.fill { inputs.value[batch, kvHead, $2, $3] }
    let strategy = try Specimen.registry.strategy(texts[place])
    let outputs = TestOutputs(own)
    try strategy.plan(for: own, on: Teams.of(1)).run(outputs.operands(part))
    return outputs
  }

  /// Heads, key/value heads, and each head's strategy: alone, in regular and irregular groups, and
  /// apart where they share a key/value head.
  static let assignments: [(kvHeads: Int, places: [Int])] = [
    (1, [0]),
    (6, [0, 1, 2, 3, 4, 5]),
    (6, [0, 1, 0, 1, 0, 1]),
    (7, [6, 6, 0, 6, 4, 4, 6]),
    (2, [0, 0, 0, 1, 1, 1]),
    (2, [0, 1, 0, 1, 0, 1]),
    (2, [2, 0, 0, 0, 2, 3]),
    (1, [5, 1, 5, 1, 5]),
    (3, [0, 0, 1, 4, 0, 0, 1, 3, 0, 0, 1, 2]),
    (4, [0, 0, 1, 1, 0, 0, 1, 1]),
  ]

  @Test(arguments: assignments, [false, true])
  func everyHeadHasItsStrategysBits(
    _ assignment: (kvHeads: Int, places: [Int]), _ causal: Bool
  ) throws {
    let problem = try AttentionProblem(
      AttentionShape(
        batch: 2, heads: assignment.places.count, kvHeads: assignment.kvHeads, queryLength: 75,
        keyLength: 90, headDim: 20, valueDim: 17), visibility: Visibility(causal: causal))
    let inputs = TestInputs(problem, seed: 5)
    let outputs = TestOutputs(problem)
    let plan = try Self.mix(assignment.places).plan(for: problem, on: Teams.of(1))
    for _ in 0..<2 { try plan.run(outputs.operands(inputs)) }
    let mixedLSE = try #require(outputs.logSumExp)
    let all = Array(assignment.places.indices)
    for kvHead in 0..<assignment.kvHeads {
      let group = all.filter { $0 / problem.shape.groupSize == kvHead }
      for place in Set(group.map { assignment.places[$0] }) {
        let heads = group.filter { assignment.places[$0] == place }
        for batch in 0..<2 {
          let own = try Self.alone(place, heads: heads, batch: batch, problem, inputs)
          let ownLSE = try #require(own.logSumExp)
          for (index, head) in heads.enumerated() {
            for row in 0..<75 {
              let isSame =
                own.output[0, index, row].map(\.bitPattern)
                == outputs.output[batch, head, row].map(\.bitPattern)
                && ownLSE[0, index, row, 0].bitPattern == mixedLSE[batch, head, row, 0].bitPattern
              #expect(isSame, "\(Self.texts[place]), batch \(batch), head \(head), row \(row)")
            }
          }
        }
      }
    }
  }

  /// A mix of one strategy is that strategy.
  @Test(arguments: [0, 1, 2, 3, 4, 5, 6])
  func aMixOfOneIsThatOne(_ place: Int) throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 6, kvHeads: 2, queryLength: 75, headDim: 20),
      visibility: Visibility(causal: true))
    let inputs = TestInputs(problem, seed: 3)
    let (mixed, own) = (TestOutputs(problem), TestOutputs(problem))
    try Self.mix(Array(repeating: place, count: 6)).plan(for: problem, on: Teams.of(2))
      .run(mixed.operands(inputs))
    try Specimen.registry.strategy(Self.texts[place]).plan(for: problem, on: Teams.of(2))
      .run(own.operands(inputs))
    #expect(mixed.bits == own.bits)
  }

  @Test(arguments: [2, 3, 5])
  func threadsAndLayoutsDoNotChangeABit(_ threads: Int) throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 6, kvHeads: 2, queryLength: 300, headDim: 24),
      visibility: Visibility(causal: true))
    let mix = try Self.mix([0, 1, 0, 2, 3, 6])
    let bits = try TestLayout.allCases.map { layout in
      let inputs = TestInputs(problem, seed: 9, layout: layout)
      let outputs = TestOutputs(problem, layout: layout)
      let team = layout == .bhnd ? 1 : threads
      try mix.plan(for: problem, on: Teams.of(team)).run(outputs.operands(inputs))
      #expect(outputs.hasIntactPadding)
      return outputs.bits
    }
    #expect(bits.allSatisfy { $0 == bits[0] })
  }

  /// What belongs to single heads or to the whole batch goes to the right part.
  @Test func sinksCapsAndLengthsReachTheParts() throws {
    let problem = try AttentionProblem(
      AttentionShape(batch: 2, heads: 6, kvHeads: 3, queryLength: 40, headDim: 16),
      scoring: Scoring(softcap: 5, sinkLogits: [0, 1, 2, -1, -.infinity, 3]),
      visibility: Visibility(keyLengths: [40, 23]))
    let inputs = TestInputs(problem, seed: 4)
    let places = [0, 1, 1, 0, 2, 1]
    let outputs = TestOutputs(problem)
    let mix = try Self.mix(places)
    try mix.plan(for: problem, on: Teams.of(2)).run(outputs.operands(inputs))
    let lse = try #require(outputs.logSumExp)
    let oracle = mix.oracle(for: problem)
    inputs.query.forEachRow { batch, head, row in
      let expected = oracle.row(
        InputViews(query: inputs.query.view, key: inputs.key.view, value: inputs.value.view),
        batch: batch,
        head: head, row: row)
      let worst =
        zip(outputs.output[batch, head, row], expected.output)
        .map { abs(Double($0) - $1) }.max() ?? 0
      #expect(worst <= 1e-5, "batch \(batch), head \(head), row \(row)")
      #expect(abs(Double(lse[batch, head, row, 0]) - expected.logSumExp) <= 1e-5)
    }
  }

  /// A run that says itself how many keys are in use says so to every part.
  @Test func aRunsOwnKeyLengthsReachTheParts() throws {
    let shape = try AttentionShape(
      batch: 2, heads: 6, kvHeads: 3, queryLength: 2, keyLength: 700, headDim: 16)
    let mix = try Self.mix([0, 1, 1, 0, 2, 6])
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let inputs = TestInputs(problem, seed: 4)
    let plan = try mix.plan(for: problem, on: Teams.of(2))
    try #require(plan.takesKeyLengths)
    for lengths in [[700, 700], [2, 65], [300, 0]] {
      let outputs = TestOutputs(problem)
      var operands = outputs.operands(inputs)
      operands.keyLengths = lengths
      try plan.run(operands)
      let fixed = try AttentionProblem(
        shape, visibility: Visibility(causal: true, keyLengths: lengths))
      let expected = TestOutputs(problem)
      try mix.plan(for: fixed, on: Teams.of(2)).run(expected.operands(inputs))
      #expect(outputs.bits == expected.bits, "\(lengths)")
    }
  }

  @Test func theOracleIsEachHeadsOwn() throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 4, kvHeads: 2, queryLength: 30, headDim: 8),
      visibility: Visibility(causal: true))
    let inputs = TestInputs(problem, seed: 2)
    let places = [0, 4, 1, 6]
    let oracle = try Self.mix(places).oracle(for: problem)
    for (head, place) in places.enumerated() {
      let own = try Specimen.registry.strategy(Self.texts[place]).oracle(for: problem)
      func row(_ oracle: any AttentionOracle) -> OracleRow {
        oracle.row(
          InputViews(query: inputs.query.view, key: inputs.key.view, value: inputs.value.view),
          batch: 0,
          head: head, row: 29)
      }
      #expect(row(oracle) == row(own))
    }
  }

  @Test func workIsTheSumOfTheParts() throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 4, kvHeads: 2, queryLength: 64, headDim: 8),
      visibility: Visibility(causal: true))
    let one = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: 64, headDim: 8), visibility: Visibility(causal: true))
    let work = try Self.mix([0, 1, 1, 0]).work(for: problem, threads: 2)
    let parts = try ["flash", "window(9, sinks: 2)"].map {
      try Specimen.registry.strategy($0).work(for: one, threads: 2)
    }
    #expect(work.pairs == 2 * parts[0].pairs + 2 * parts[1].pairs)
    #expect(work.flops == 2 * parts[0].flops + 2 * parts[1].flops)
    #expect(work.minimumBytes == problem.tensorBytes)
    let plan = try Self.mix([0, 1, 1, 0]).plan(for: problem, on: Teams.of(2))
    #expect(plan.workspaceBytes == work.workspaceBytes)
  }

  @Test(arguments: [
    ([0, 3], OperatorClass.exact), ([0, 1], .restricted), ([1, 4, 0], .different),
  ])
  func theClassIsThatOfTheFurthestPart(_ places: [Int], _ expected: OperatorClass) throws {
    #expect(try Self.mix(places).operatorClass == expected)
  }

  @Test func itsSpecCountsHeads() throws {
    let problem = try AttentionProblem(AttentionShape(heads: 3, queryLength: 64, headDim: 8))
    #expect(
      try Self.mix([1, 0, 1]).spec(for: problem)
        == "mix(window(9, sinks: 2) x2, flash x1)")
  }

  @Test func whatDoesNotFitIsRefused() throws {
    let problem = try AttentionProblem(AttentionShape(heads: 3, queryLength: 8, headDim: 8))
    let mix = try Self.mix([0, 1])
    #expect(throws: AttentionError.self) { try mix.work(for: problem, threads: 1) }
    let error = #expect(throws: AttentionError.self) {
      try mix.plan(for: problem, on: Teams.of(1))
    }
    #expect(error?.kind == .shapeMismatch)
    #expect(error?.description.contains("there are 3") == true)
    #expect(throws: AttentionError.self) { try MixedAttention([]) }
  }

  #if canImport(Glibc)
    /// In a process of its own, since the counter sees all threads.
    @Test func runningAMixAllocatesNothing() async {
      await #expect(processExitsWith: .success) {
        let problem = try AttentionProblem(
          AttentionShape(heads: 8, kvHeads: 4, queryLength: 130, headDim: 16),
          visibility: Visibility(causal: true))
        let texts = ["flash", "strided(5)", "linear", "full", "blockdiagonal(13)"]
        let mix = try MixedAttention(
          (0..<8).map { try Specimen.registry.strategy(texts[$0 * 3 % 5]) })
        let count = try AllocationCount.ofRun(
          mix, problem, TestInputs(problem, seed: 1), TestOutputs(problem))
        #expect(count == 0, "\(count) allocations")
      }
    }
  #endif
}
