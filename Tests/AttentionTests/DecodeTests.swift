import Attention
import AttentionTestSupport
import Testing

/// Few query rows: what is particular to plans that split keys and read them in place.
@Suite struct DecodeTests {
  /// The strategies that plan few query rows so.
  static let specimens: [Specimen] = {
    do {
      let problem = try AttentionProblem(AttentionShape(heads: 1, queryLength: 1, headDim: 1))
      return try Specimen.softmax.filter { try $0.decodes(problem) }
    } catch {
      fatalError("a strategy refuses one query: \(error)")
    }
  }()
  /// Key lengths around chunks and splits of the decode kernels.
  private static let lengths = [1, 2, 15, 17, 63, 64, 65, 127, 129, 300, 1023, 1025, 5000]

  @Test(arguments: specimens, 1...8)
  func agreesAtEveryChunkEdge(_ specimen: Specimen, _ queries: Int) throws {
    let dimensions = [(8, 5), (16, 16), (17, 33), (40, 3), (64, 64), (72, 130), (3, 20), (128, 17)]
    for (number, length) in Self.lengths.enumerated() {
      let (headDim, valueDim) = dimensions[(number + queries) % dimensions.count]
      for (heads, kvHeads) in [(1, 1), (2, 1), (6, 2)] where queries * heads / kvHeads <= 16 {
        let problem = try AttentionProblem(
          AttentionShape(
            heads: heads, kvHeads: kvHeads, queryLength: queries,
            keyLength: length, headDim: headDim, valueDim: valueDim),
          scoring: Scoring(
            softcap: number % 3 == 0 ? 4 : nil,
            sinkLogits: number % 4 == 1 ? (0..<heads).map { Float($0) } : nil),
          visibility: Visibility(causal: (number + queries) % 2 == 0))
        let inputs = TestInputs(
          problem, fill: TestFill.allCases[(number + queries) % TestFill.allCases.count],
          seed: 100 * number + queries)
        let outputs = try specimen.run(problem, inputs, threads: number % 3 + 1, layout: .padded)
        ErrorGate.check(specimen, problem, inputs, outputs, "\(problem.shape)")
      }
    }
  }

  @Test(arguments: specimens)
  func threadCountDoesNotChangeABit(_ specimen: Specimen) throws {
    for queries in [1, 3] {
      let problem = try AttentionProblem(
        AttentionShape(
          heads: 4, kvHeads: 2, queryLength: queries, keyLength: 9000, headDim: 32),
        visibility: Visibility(causal: true))
      let inputs = TestInputs(problem, seed: queries)
      let bits = try [1, 2, 3, 5].map { try specimen.run(problem, inputs, threads: $0).bits }
      #expect(bits.allSatisfy { $0 == bits[0] })
    }
  }

  /// A row alone has the bits that it has among others, and so has a head beside others.
  @Test(arguments: specimens)
  func companyDoesNotChangeABit(_ specimen: Specimen) throws {
    let (queries, keys) = (5, 3000)
    func problem(_ heads: Int, _ rows: Int, offset: Int) throws -> AttentionProblem {
      try AttentionProblem(
        AttentionShape(
          heads: heads, kvHeads: 1, queryLength: rows, keyLength: keys, headDim: 24,
          valueDim: 40), visibility: Visibility(causal: true, offset: .fixed(offset)))
    }
    let together = try problem(3, queries, offset: keys - queries)
    let inputs = TestInputs(together, seed: 7)
    let outputs = try specimen.run(together, inputs, threads: 2)
    for row in 0..<queries {
      for head in 0..<3 {
        let single = try problem(1, 1, offset: keys - queries + row)
        var own = TestInputs(single, seed: 0)
        own.query.fill { inputs.query[0, head, row, $3] }
        own.key = inputs.key
        own.value = inputs.value
        let alone = try specimen.run(single, own)
        #expect(
          alone.output[0, 0, 0].elementsEqual(outputs.output[0, head, row]),
          "head \(head), row \(row)")
      }
    }
  }

  /// NaN and infinity in keys that a row does not see change none of its bits.
  @Test(arguments: specimens, [Float.nan, .infinity, -.infinity])
  func poisonStaysWhereItIsSeen(_ specimen: Specimen, _ poison: Float) throws {
    let problem = try AttentionProblem(
      AttentionShape(
        heads: 4, kvHeads: 2, queryLength: 6, keyLength: 400, headDim: 19, valueDim: 21),
      visibility: Visibility(causal: true))
    let clean = TestInputs(problem, seed: 3)
    let expected = try specimen.run(problem, clean, threads: 2)
    let pattern = specimen.strategy.pattern(for: problem.geometry(batch: 0))
    for key in [0, 395, 397, 399] {
      let inputs = clean.copy()
      for head in 0..<2 {
        for column in 0..<19 { inputs.key[0, head, key, column] = poison }
        for column in 0..<21 { inputs.value[0, head, key, column] = poison }
      }
      let outputs = try specimen.run(problem, inputs, threads: 2)
      for head in 0..<4 {
        for row in 0..<6 {
          let output = outputs.output[0, head, row]
          if !pattern.includes(position: row + 394, key: key) {
            #expect(output.elementsEqual(expected.output[0, head, row]), "key \(key), row \(row)")
          } else if poison.isNaN {
            #expect(output.allSatisfy { $0.isNaN }, "key \(key), row \(row)")
          }
        }
      }
    }
  }

  /// A plan made for a cache of some capacity serves every fill of it, as a plan for that length
  /// does.
  @Test(arguments: specimens)
  func runsBringTheirOwnKeyLengths(_ specimen: Specimen) throws {
    let shape = try AttentionShape(
      batch: 2, heads: 4, kvHeads: 2, queryLength: 2, keyLength: 2500, headDim: 16)
    for causal in [false, true] {
      let problem = try AttentionProblem(shape, visibility: Visibility(causal: causal))
      let inputs = TestInputs(problem, seed: 4)
      let plan = try specimen.strategy.plan(for: problem, on: Teams.of(2))
      try #require(plan.takesKeyLengths)
      for lengths in [[1, 2500], [0, 64], [1025, 700]] {
        let outputs = TestOutputs(problem)
        var operands = outputs.operands(inputs)
        operands.keyLengths = lengths
        try plan.run(operands)
        let fixed = try AttentionProblem(
          shape, visibility: Visibility(causal: causal, keyLengths: lengths))
        ErrorGate.check(specimen, fixed, inputs, outputs, "\(lengths), causal \(causal)")
        #expect(try specimen.run(fixed, inputs, threads: 3).bits == outputs.bits)
      }
    }
  }

  @Test func fewRowsTakeKeyLengthsOfTheirOwn() throws {
    let flash = try StrategyRegistry.standard.strategy("flash")
    let problem = try AttentionProblem(
      AttentionShape(heads: 32, kvHeads: 8, queryLength: 1, keyLength: 100, headDim: 8))
    #expect(try flash.plan(for: problem, on: Teams.of(1)).takesKeyLengths)
  }

  /// Mask, bias and slopes, alone and together.
  @Test(arguments: specimens, 0..<8)
  func agreesWithMasksBiasesAndSlopes(_ specimen: Specimen, _ number: Int) throws {
    let shape = try AttentionShape(
      batch: 2, heads: 4, kvHeads: 2, queryLength: 3, keyLength: 500, headDim: 16, valueDim: 9)
    var generator = TestGenerator(seed: number)
    let mask = try BroadcastTensor<UInt8>(TensorShape(2, 1, 3, 480)) { elements in
      // Whole chunks hidden, and single keys.
      for i in elements.indices {
        elements[i] = i % 480 / 64 == 2 || generator.uniform() < 0.3 ? 0 : 1
      }
    }
    let bias = try BroadcastTensor<Float>(TensorShape(1, 4, 1, 500)) { elements in
      for i in elements.indices {
        elements[i] = generator.uniform() < 0.1 ? -.infinity : generator.normal()
      }
    }
    let problem = try AttentionProblem(
      shape, scoring: Scoring(softcap: number == 3 ? 5 : nil),
      visibility: Visibility(
        causal: number % 2 == 0, mask: number & 1 == 0 ? mask : nil,
        bias: number & 2 == 0 ? bias : nil,
        alibiSlopes: number & 4 == 0 ? [0.02, 0.01, -0.01, 0] : nil))
    let inputs = TestInputs(problem, seed: number)
    let outputs = try specimen.run(problem, inputs, threads: 2)
    let truth = oracleRows(specimen.strategy.oracle(for: problem), inputs)
    let error = outputs.deviation(from: truth)
    #expect(error.maximum < 2e-6 && error.logSumExp < 5e-6, "\(error)")
  }
}

extension Specimen {
  /// Whether the strategy plans a problem for few query rows.
  func decodes(_ problem: AttentionProblem) throws -> Bool {
    let base = (strategy as? SuppliedStrategy)?.base ?? strategy
    return try (base is any PatternStrategy || base is GeneralAttention)
      && strategy.plan(for: problem, on: Teams.of(1)).takesKeyLengths
  }
}
