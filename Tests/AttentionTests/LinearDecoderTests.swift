import Attention
import AttentionTestSupport
import Testing

@Suite struct LinearDecoderTests {
  @Test(arguments: [(1, 5, 3), (3, 64, 64), (50, 16, 33)])
  func stepsAreTheRowsOfTheCausalForm(queryHeads: Int, headDim: Int, valueDim: Int) throws {
    let length = 70
    let shape = try AttentionShape(
      heads: queryHeads, kvHeads: 1, queryLength: length, headDim: headDim, valueDim: valueDim)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let oracle = LinearOracle(problem)
    var generator = TestGenerator(seed: 11)
    let (query, key, value) = try (
      Tensor(shape.query), Tensor(shape.key), Tensor(shape.value)
    )
    for tensor in [query, key, value] {
      for i in tensor.elements.indices {
        tensor.elements[i] = Float.random(in: -2...2, using: &generator)
      }
    }
    var decoder = try LinearDecoder(
      queryHeads: queryHeads, headDim: headDim, valueDim: valueDim)
    for _ in 0..<2 {
      decoder.reset()
      for token in 0..<length {
        let q = (0..<queryHeads).flatMap { head in
          query.elements[((head * length + token) * headDim)...].prefix(headDim)
        }
        var output = [Float](repeating: .nan, count: queryHeads * valueDim)
        try q.withUnsafeBufferPointer { q in
          try output.withUnsafeMutableBufferPointer { output in
            try decoder.step(
              query: q,
              key: UnsafeBufferPointer(
                rebasing: key.elements[(token * headDim)..<((token + 1) * headDim)]),
              value: UnsafeBufferPointer(
                rebasing: value.elements[(token * valueDim)..<((token + 1) * valueDim)]),
              output: output)
          }
        }
        for head in 0..<queryHeads {
          let truth = oracle.row(
            InputViews(query: query.view, key: key.view, value: value.view), batch: 0, head: head,
            row: token)
          for c in 0..<valueDim {
            #expect(abs(Double(output[head * valueDim + c]) - truth.output[c]) < 1e-5)
          }
        }
      }
    }
  }

  @Test func refusesBuffersOfAnotherLength() throws {
    var decoder = try LinearDecoder(headDim: 2, valueDim: 2)
    let two: [Float] = [1, 2]
    let three: [Float] = [1, 2, 3]
    var output: [Float] = [0, 0]
    let error = #expect(throws: AttentionError.self) {
      try two.withUnsafeBufferPointer { two in
        try three.withUnsafeBufferPointer { three in
          try output.withUnsafeMutableBufferPointer {
            try decoder.step(query: two, key: three, value: two, output: $0)
          }
        }
      }
    }
    #expect(error?.argument == "key")
  }
}
