import Attention
import AttentionTestSupport
import Testing

/// `flash(kv: ...)`: softmax attention over keys and values as another element type holds them.
@Suite struct QuantisedAttentionTests {
  static let storages: [ElementType] = [.float16, .bfloat16, .int8PerToken, .int8PerChannel]

  /// Against its definition, within what flash may differ from its own.
  @Test(arguments: storages)
  func agreesWithItsDefinition(_ storage: ElementType) throws {
    let strategy = try StrategyRegistry.standard.strategy("flash(kv: \(storage.rawValue))")
    #expect(strategy.operatorClass == .exact && !strategy.isExactInFloat32)
    for number in 0..<120 {
      let test = try TestCase(number)
      let inputs = test.inputs()
      let outputs = test.outputs()
      let plan = try strategy.plan(for: test.problem, on: Teams.of(test.threads))
      #expect(
        try strategy.work(for: test.problem, threads: test.threads).workspaceBytes
          == plan.workspaceBytes)
      try plan.run(outputs.operands(inputs))
      let truth = oracleRows(strategy.oracle(for: test.problem), inputs)
      let stored = try stored(inputs, test.problem, as: storage)
      let naive = NaiveSoftmax(test.problem) { strategy.pattern(for: $0) }
        .deviation(from: truth, stored)
      ErrorGate.check(
        outputs.deviation(from: truth), naive: naive, logits: truth, test.problem,
        "\(storage) \(test)")
    }
  }

  /// The inputs as a cache holds them, which converts by code of its own.
  private func stored(
    _ inputs: TestInputs, _ problem: AttentionProblem, as storage: ElementType
  ) throws -> TestInputs {
    let rows = problem.shape.keyLength
    let cache = try ContiguousCache(
      CacheShape(problem.shape), capacity: rows, elementType: storage)
    try cache.append(
      key: inputs.key.view, value: inputs.value.view, counts: problem.visibility.keyLengths)
    let held = try cache.contents(rows: rows)
    return TestInputs(query: inputs.query, key: held.key, value: held.value)
  }

  /// The definition is a rounding away from full attention: for unit normal rows an 8-bit step is
  /// some 2% of their deviation.
  @Test(arguments: zip(storages, [1e-3, 8e-3, 2e-2, 2e-2]))
  func liesCloseToFullAttention(_ storage: ElementType, _ bound: Double) throws {
    let strategy = try StrategyRegistry.standard.strategy("flash(kv: \(storage.rawValue))")
    let problem = try AttentionProblem(
      AttentionShape(heads: 2, queryLength: 200, headDim: 64), visibility: Visibility(causal: true))
    let inputs = TestInputs(problem, seed: 3)
    let outputs = TestOutputs(problem)
    try strategy.plan(for: problem, on: Teams.of(2)).run(outputs.operands(inputs))
    let error = outputs.deviation(from: oracleRows(SoftmaxOracle(full: problem), inputs))
    #expect(error.relativeL2 < bound)
    #expect(error.relativeL2 > bound / 50)
  }

  /// What a row does not see does not reach it; with a scale a token not a bit of it, with a scale a
  /// channel not as a NaN. What it sees is not hidden.
  @Test(arguments: storages, LeakTests.Poison.allCases)
  func poisonStaysWhereItIsSeen(_ storage: ElementType, _ poison: LeakTests.Poison) throws {
    let strategy = try StrategyRegistry.standard.strategy("flash(kv: \(storage.rawValue))")
    let problem = try AttentionProblem(
      AttentionShape(heads: 4, kvHeads: 2, queryLength: 90, headDim: 11, valueDim: 7),
      visibility: Visibility(causal: true, keyLengths: [80]))
    let clean = TestInputs(problem, seed: 4)
    let before = TestOutputs(problem)
    let plan = try strategy.plan(for: problem, on: Teams.of(2))
    try plan.run(before.operands(clean))
    for role in [\TestInputs.key, \.value] {
      let poisoned = clean.copy()
      // Row 85 is padding: beyond the keys in use.
      for row in [40, 85] {
        for column in [0, 2] { poisoned[keyPath: role][0, 1, row, column] = poison.value }
      }
      let outputs = TestOutputs(problem)
      try plan.run(outputs.operands(poisoned))
      let offset = problem.geometry(batch: 0).offset
      outputs.output.forEachRow { _, head, row in
        let output = outputs.output[0, head, row]
        let sees = head >= 2 && row + offset >= 40
        if sees {
          let isNaN = output.contains(where: \.isNaN)
          if poison == .nan { #expect(isNaN) }
          return
        }
        let old = before.output[0, head, row]
        if storage != .int8PerChannel || head < 2 {
          #expect(output.elementsEqual(old) { $0.bitPattern == $1.bitPattern })
        } else {
          #expect(zip(output, old).allSatisfy { abs($0 - $1) < 0.1 })
        }
      }
    }
    // The plan is as good as new.
    let after = TestOutputs(problem)
    try plan.run(after.operands(clean))
    #expect(after.bits == before.bits)
  }

  @Test func isWrittenAndResolved() throws {
    let problem = try AttentionProblem(AttentionShape(heads: 1, queryLength: 8, headDim: 4))
    let registry = StrategyRegistry.standard
    #expect(
      try registry.strategy("flash(kv: int8-token)").spec(for: problem) == "flash(kv: int8-token)")
    #expect(try registry.strategy("flash(kv: f32)").spec(for: problem) == "flash")
    #expect(try registry.strategy("flash(kv: f32)").operatorClass == .exact)
    let error = #expect(throws: AttentionError.self) { try registry.strategy("flash(kv: int4)") }
    #expect(error?.argument == "flash kv")
    let stored = try AttentionProblem(
      problem.shape, storage: Storage(.float32, keyValue: .int8PerToken))
    let again = #expect(throws: AttentionError.self) {
      try registry.strategy("flash(kv: f16)").plan(for: stored, on: Teams.of(1))
    }
    #expect(again?.argument == "kv")
  }

  /// A decoder of such a strategy stores rows so as they arrive.
  @Test func decodesOverACacheOfItsType() throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 2, queryLength: 1, keyLength: 30, headDim: 16),
      visibility: Visibility(causal: true))
    let strategy = try StrategyRegistry.standard.strategy("flash(kv: int8-token)")
    let decoder = try strategy.decoder(for: problem, on: Teams.of(1))
    #expect((decoder as? CachedDecoder)?.cache.elementType == .int8PerToken)
    let whole = try AttentionProblem(
      AttentionShape(heads: 2, queryLength: 30, headDim: 16), visibility: Visibility(causal: true))
    let run = DecodeRun(whole, seed: 2)
    for _ in 0..<30 { try run.step(decoder, [1]) }
    #expect(run.error(strategy.oracle(for: whole), decoder) <= 5e-6)
  }
}
