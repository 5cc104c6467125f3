import Attention
import AttentionTestSupport
import RealModule
import Testing

/// The keys that a definition says it keeps are those that its softmax is taken over.
@Suite struct KeptKeysTests {
  private static let selecting = [
    "topblocks(4, 3)", "topblocks(7, 4, rows: 3)", "topblocks(16, 2, rows: 64)", "topk(1)",
    "topk(9)",
  ]

  /// Also of strategies that select, and of any that is registered later: what recall is worked out from.
  @Test func aRestrictedStrategyNamesTheKeysOfEveryRow() throws {
    let shape = try AttentionShape(
      batch: 2, heads: 2, kvHeads: 1, queryLength: 24, keyLength: 52, headDim: 9, valueDim: 5)
    let selecting = try Self.selecting.map { try Specimen(parsing: $0) }
    for visibility in [
      Visibility(causal: true, keyLengths: [52, 31]), Visibility(),
      Visibility(causal: true, offset: .fixed(-9)),
    ] {
      let problem = try AttentionProblem(shape, visibility: visibility)
      let inputs = TestInputs(problem, seed: 11)
      let views = InputViews(
        query: inputs.query.view, key: inputs.key.view, value: inputs.value.view)
      for specimen in Specimen.all + selecting where specimen.isSoftmax {
        let oracle = specimen.strategy.oracle(for: problem)
        inputs.query.forEachRow { batch, head, row in
          let definition = oracle.row(views, batch: batch, head: head, row: row)
          guard let kept = oracle.keptKeys(views, batch: batch, head: head, row: row) else {
            Issue.record("\(specimen.text) does not say what it keeps")
            return
          }
          #expect(kept == kept.sorted() && Set(kept).count == kept.count)
          // Storage of fewer bits moves scores a little.
          let error = abs(
            logSumExp(of: kept, problem, inputs, batch, head, row) - definition.logSumExp)
          #expect(
            kept.isEmpty ? definition.logSumExp == -.infinity : error < 0.1, "\(specimen.text)")
        }
      }
    }
  }

  private func logSumExp(
    of keys: [Int], _ problem: AttentionProblem, _ inputs: TestInputs, _ batch: Int, _ head: Int,
    _ row: Int
  ) -> Double {
    let query = inputs.query[batch, head, row]
    let scores = keys.map { key in
      zip(query, inputs.key[batch, head / problem.shape.groupSize, key])
        .reduce(0.0) { $0 + Double($1.0) * Double($1.1) } * Double(problem.scale)
    }
    let largest = scores.max() ?? 0
    return largest + Double.log(scores.reduce(0) { $0 + Double.exp($1 - largest) })
  }

  @Test func anotherOperatorKeepsNone() throws {
    let problem = try AttentionProblem(AttentionShape(heads: 1, queryLength: 4, headDim: 4))
    let inputs = TestInputs(problem, seed: 1)
    let views = InputViews(
      query: inputs.query.view, key: inputs.key.view, value: inputs.value.view)
    let oracle = try StrategyRegistry.standard.strategy("linear").oracle(for: problem)
    #expect(oracle.keptKeys(views, batch: 0, head: 0, row: 0) == nil)
  }
}
