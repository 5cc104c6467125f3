import Attention
import AttentionTestSupport
import Testing

/// A query row that sees no key gives output 0 and LSE -inf, exactly.
@Suite struct EmptyRowTests {
  @Test(arguments: Specimen.all, [QueryOffset.fixed(-3), .fixed(-60), .fixed(-1000), .bottomRight])
  func rowsBeforeTheFirstKeyAreEmpty(_ specimen: Specimen, _ offset: QueryOffset) throws {
    // Two heads on one, so that rows with and without keys share panels unevenly.
    let problem = try AttentionProblem(
      AttentionShape(
        batch: 2, heads: 2, kvHeads: 1, queryLength: 130, keyLength: 50, headDim: 20, valueDim: 9),
      visibility: Visibility(causal: true, offset: offset))
    let inputs = TestInputs(problem, seed: 5)
    let outputs = try specimen.run(problem, inputs, threads: 2, layout: .padded)
    try expectEmptyRows(specimen, problem, outputs)
    ErrorGate.check(specimen, problem, inputs, outputs, "\(offset)")
  }

  @Test(arguments: Specimen.softmax)
  func rowsBeyondThePatternsReachAreEmpty(_ specimen: Specimen) throws {
    for offset in [-400, 400] {
      let problem = try AttentionProblem(
        AttentionShape(heads: 1, queryLength: 33, keyLength: 70, headDim: 8),
        visibility: Visibility(causal: false, offset: .fixed(offset)))
      let inputs = TestInputs(problem, seed: 6)
      let outputs = try specimen.run(problem, inputs)
      try expectEmptyRows(specimen, problem, outputs)
      ErrorGate.check(specimen, problem, inputs, outputs, "offset \(offset)")
    }
  }

  private func expectEmptyRows(
    _ specimen: Specimen, _ problem: AttentionProblem, _ outputs: TestOutputs
  ) throws {
    let lse = try #require(outputs.logSumExp)
    outputs.output.forEachRow { batch, head, row in
      let pattern = specimen.strategy.pattern(for: problem.geometry(batch: batch))
      let position = row + pattern.geometry.offset
      let seesSomething = (0..<problem.shape.keyLength).contains {
        pattern.includes(position: position, key: $0)
      }
      if seesSomething { return }
      #expect(outputs.output[batch, head, row].allSatisfy { $0 == 0 }, "row \(row)")
      #expect(lse[batch, head, row, 0] == -.infinity, "row \(row)")
    }
  }
}
