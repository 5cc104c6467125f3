import Attention
import AttentionTestSupport
import Testing

/// Softcap, sink logits and padded keys.
@Suite struct ProblemOptionTests {
  /// A cap far above all scores changes nothing but roundings; one far below makes every weight
  /// nearly the same.
  @Test(arguments: Specimen.exact)
  func softcapBoundsScores(_ specimen: Specimen) throws {
    let shape = try AttentionShape(heads: 1, queryLength: 60, headDim: 16, valueDim: 3)
    let inputs = TestInputs(try AttentionProblem(shape), fill: .wideLogits, seed: 3)
    let plain = try specimen.run(try AttentionProblem(shape), inputs)
    let high = try specimen.run(try AttentionProblem(shape, scoring: Scoring(softcap: 1e6)), inputs)
    let low = try specimen.run(try AttentionProblem(shape, scoring: Scoring(softcap: 1e-3)), inputs)
    for row in 0..<60 {
      for column in 0..<3 {
        let mean = (0..<60).reduce(Float(0)) { $0 + inputs.value[0, 0, $1, column] } / 60
        #expect(abs(low.output[0, 0, row, column] - mean) < 1e-2)
        #expect(abs(high.output[0, 0, row, column] - plain.output[0, 0, row, column]) < 1e-3)
      }
    }
  }

  /// Rows that see no key stay at 0 and -inf, sink or not.
  @Test(arguments: Specimen.softmax)
  func aSinkIsNoKey(_ specimen: Specimen) throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 2, queryLength: 70, keyLength: 40, headDim: 8),
      scoring: Scoring(sinkLogits: [3, 100]),
      visibility: Visibility(causal: true, offset: .fixed(-30)))
    let outputs = try specimen.run(problem, TestInputs(problem, seed: 9), threads: 2)
    let lse = try #require(outputs.logSumExp)
    for head in 0..<2 {
      for row in 0..<30 {
        #expect(outputs.output[0, head, row].allSatisfy { $0 == 0 })
        #expect(lse[0, head, row, 0] == -.infinity)
      }
    }
  }

  /// What lies in the padding, NaN and infinity included, changes no bit.
  @Test(arguments: Specimen.all, [false, true])
  func paddingIsNeverSeen(_ specimen: Specimen, _ causal: Bool) throws {
    let shape = try AttentionShape(
      batch: 4, heads: 4, kvHeads: 2, queryLength: 100, keyLength: 170, headDim: 12, valueDim: 7)
    let lengths = [170, 0, 1, 133]
    let problem = try AttentionProblem(
      shape, visibility: Visibility(causal: causal, keyLengths: lengths))
    let inputs = TestInputs(problem, seed: 11)
    let clean = try specimen.run(problem, inputs, threads: 2)
    ErrorGate.check(specimen, problem, inputs, clean, "key lengths \(lengths)")
    for (batch, length) in lengths.enumerated() {
      for head in 0..<2 {
        for row in length..<170 {
          for column in 0..<12 { inputs.key[batch, head, row, column] = .nan }
          for column in 0..<7 { inputs.value[batch, head, row, column] = .infinity }
        }
      }
    }
    let poisoned = try specimen.run(problem, inputs, threads: 2)
    for batch in 0..<4 {
      for head in 0..<4 {
        for row in 0..<100 {
          #expect(
            poisoned.output[batch, head, row].elementsEqual(clean.output[batch, head, row]),
            "batch \(batch) head \(head) row \(row)")
        }
      }
    }
  }

  @Test func linearAttentionRefusesLogitOptions() throws {
    let linear = try StrategyRegistry.standard.strategy("linear")
    let shape = try AttentionShape(heads: 2, queryLength: 8, headDim: 4)
    for problem in [
      try AttentionProblem(shape, scoring: Scoring(softcap: 30)),
      try AttentionProblem(shape, scoring: Scoring(sinkLogits: [0, 1])),
    ] {
      let error = #expect(throws: AttentionError.self) {
        try linear.plan(for: problem, on: Teams.of(1))
      }
      #expect(error?.advice.contains("flash") == true)
      #expect(throws: AttentionError.self) { try linear.work(for: problem, threads: 1) }
    }
  }

  @Test func optionsOutOfRangeAreRefused() throws {
    let shape = try AttentionShape(batch: 2, heads: 2, queryLength: 8, headDim: 4)
    func refusal(_ make: () throws(AttentionError) -> AttentionProblem) -> String? {
      do {
        _ = try make()
        return nil
      } catch {
        return error.argument
      }
    }
    for softcap in [Float(0), -1, .nan, .infinity] {
      #expect(
        refusal { () throws(AttentionError) in
          try AttentionProblem(shape, scoring: Scoring(softcap: softcap))
        }
          == "softcap")
    }
    for lengths in [[8], [8, 9], [-1, 3], [1, 2, 3]] {
      #expect(
        refusal { () throws(AttentionError) in
          try AttentionProblem(shape, visibility: Visibility(keyLengths: lengths))
        }
          == "keyLengths")
    }
    for sinks: [Float] in [[0], [.nan, 0], [.infinity, 0]] {
      #expect(
        refusal { () throws(AttentionError) in
          try AttentionProblem(shape, scoring: Scoring(sinkLogits: sinks))
        }
          == "sinkLogits")
    }
  }
}
