import Attention
import Testing

import DistributedAttention

@Suite struct ShardTensorsTests {
  private func numbers(_ tensor: Tensor, _ batch: Int, _ head: Int, _ row: Int) -> [Float] {
    let shape = tensor.shape
    let first = ((batch * shape.heads + head) * shape.rows + row) * shape.columns
    return (first..<first + shape.columns).map { tensor.elements[$0] }
  }

  @Test(arguments: ShardOrder.allCases)
  func shardsArePartsOfOneProblem(order: ShardOrder) throws {
    let problem = try AttentionProblem(
      AttentionShape(batch: 2, heads: 3, kvHeads: 1, queryLength: 23, keyLength: 31, headDim: 4))
    let whole = try ShardTensors(whole: problem, operands: [], seed: 9)
    let queries = try ShardLayout(length: 23, ranks: 3, order: order)
    let keys = try ShardLayout(length: 31, ranks: 3, order: order)
    for rank in 0..<3 {
      let part = try ShardTensors(
        random: problem, operands: [], queries: queries.segments(rank), keys: keys.segments(rank),
        seed: 9)
      for (own, all, segments) in [
        (part.query, whole.query, queries.segments(rank)),
        (part.value, whole.value, keys.segments(rank)),
      ] {
        for batch in 0..<2 {
          for head in 0..<own.shape.heads {
            for segment in segments {
              for (index, row) in segment.rows.enumerated() {
                let place = segment.start + index
                #expect(
                  numbers(own, batch, head, place) == numbers(all, batch, head, row))
              }
            }
          }
        }
      }
    }
  }

  @Test func numbersAreUnitNormalsAndDifferBySeed() throws {
    let problem = try AttentionProblem(AttentionShape(heads: 4, queryLength: 500, headDim: 16))
    let (one, two) = (
      try ShardTensors(whole: problem, operands: [], seed: 1),
      try ShardTensors(whole: problem, operands: [], seed: 2)
    )
    let values = one.query.elements.map(Double.init)
    let mean = values.reduce(0, +) / Double(values.count)
    let variance = values.reduce(0) { $0 + $1 * $1 } / Double(values.count)
    #expect(abs(mean) < 0.02 && abs(variance - 1) < 0.03)
    #expect(Array(one.query.elements) != Array(two.query.elements))
    #expect(Array(one.query.elements) != Array(one.key.elements))
  }
}
