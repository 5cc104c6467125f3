import Attention
import AttentionTestSupport
import MachineTopology
import Testing

/// The same inputs give the same bits, whatever ran beside them.
@Suite struct DeterminismTests {
  @Test(arguments: Specimen.all)
  func repeatedRunsOfOnePlanAgree(_ specimen: Specimen) throws {
    for number in [4, 11, 23, 31] {
      let test = try TestCase(number)
      let inputs = test.inputs()
      let plan = try specimen.strategy.plan(for: test.problem, on: Teams.of(3))
      let runs = try (0..<4).map { _ in
        let outputs = test.outputs()
        try plan.run(outputs.operands(inputs))
        return outputs.bits
      }
      #expect(runs.allSatisfy { $0 == runs[0] }, "\(test)")
    }
  }

  @Test(arguments: Specimen.all)
  func threadCountDoesNotChangeABit(_ specimen: Specimen) throws {
    for number in 0..<24 {
      let test = try TestCase(number)
      let inputs = test.inputs()
      let single = try specimen.run(test.problem, inputs)
      for threads in [2, 3, 5] {
        let several = try specimen.run(test.problem, inputs, threads: threads)
        #expect(single.bits == several.bits, "\(threads) threads: \(test)")
      }
    }
  }

  /// Long enough for many chunks and blocks, with fewer heads than workers.
  @Test(arguments: Specimen.all, [false, true])
  func longSequencesAgreeAcrossThreadCounts(_ specimen: Specimen, _ causal: Bool) throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 3, kvHeads: 1, queryLength: 1500, headDim: 8, valueDim: 4),
      visibility: Visibility(causal: causal))
    let inputs = TestInputs(problem, seed: 3)
    let single = try specimen.run(problem, inputs)
    let several = try specimen.run(problem, inputs, threads: 5)
    #expect(single.bits == several.bits)
  }

  @Test(arguments: [false, true])
  func queryBlockingDoesNotChangeABit(_ causal: Bool) throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 6, kvHeads: 2, queryLength: 300, keyLength: 333, headDim: 24),
      visibility: Visibility(causal: causal))
    let inputs = TestInputs(problem, fill: .wideLogits, seed: 2)
    let bits = try [1, 48, 97, 500, 5000].map { rows in
      let text = "flash(\(rows), 64)"
      return try Specimen(text: text, strategy: Specimen.registry.strategy(text))
        .run(problem, inputs, threads: 2).bits
    }
    #expect(bits.allSatisfy { $0 == bits[0] })
  }

  /// Heads and batch entries computed together equal each computed alone, where a head's number does not
  /// matter.
  @Test(arguments: Specimen.all)
  func companyDoesNotChangeABit(_ specimen: Specimen) throws {
    if specimen.strategy.dependsOnHeadNumbers { return }
    let alone = try AttentionShape(
      heads: 2, kvHeads: 1, queryLength: 130, keyLength: 140, headDim: 20, valueDim: 17)
    let together = try AttentionShape(
      batch: 3, heads: 8, kvHeads: 4, queryLength: 130, keyLength: 140, headDim: 20, valueDim: 17)
    for causal in [false, true] {
      let problem = try AttentionProblem(together, visibility: Visibility(causal: causal))
      let single = try AttentionProblem(alone, visibility: Visibility(causal: causal))
      let inputs = TestInputs(problem, seed: 12)
      let outputs = try specimen.run(problem, inputs, threads: 2)
      for (batch, kvHead) in [(0, 0), (1, 2), (2, 3)] {
        let part = TestInputs(single, seed: 0)
        part.query.fill { inputs.query[batch, 2 * kvHead + $1, $2, $3] }
        part.key.fill { inputs.key[batch, kvHead, $2, $3] }
        part.value.fill { inputs.value[batch, kvHead, $2, $3] }
        let own = try specimen.run(single, part)
        for head in 0..<2 {
          for row in 0..<130 {
            #expect(
              own.output[0, head, row].elementsEqual(
                outputs.output[batch, 2 * kvHead + head, row]),
              "batch \(batch), head \(2 * kvHead + head), row \(row), causal \(causal)")
          }
        }
      }
    }
  }

  /// Strided views give what a dense copy gives.
  @Test(arguments: Specimen.all)
  func layoutDoesNotChangeABit(_ specimen: Specimen) throws {
    let problem = try AttentionProblem(
      AttentionShape(
        batch: 2, heads: 4, kvHeads: 2, queryLength: 70, keyLength: 90, headDim: 17, valueDim: 16),
      visibility: Visibility(causal: true))
    let bits = try TestLayout.allCases.map { layout in
      let inputs = TestInputs(problem, seed: 9, layout: layout)
      return try specimen.run(problem, inputs, threads: 2, layout: layout).bits
    }
    #expect(bits.allSatisfy { $0 == bits[0] })
  }
}
