import AttentionTestSupport
import CAttentionKernels
import Testing

/// Plain products: dots and accumulate.
@Suite struct ProductTests {
  @Test(arguments: KernelFixture.all)
  func dotsMatchTheirSums(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 1)
    let lanes = kernel.lanes
    for headDim in [1, 2, 7, 16, 33] {
      let queries = (0..<headDim * lanes).map { _ in generator.normal() }
      for count in kernel.counts {
        let keys = RowTable(count: count, columns: headDim) { _, _ in generator.normal() }
        for vectors in kernel.vectorCounts {
          var weights = [Float](repeating: .nan, count: count * lanes)
          keys.withReading {
            kernel.functions.dots(
              queries, $0, Int32(count), Int32(headDim), Int32(vectors), &weights)
          }
          let matches = weights.indices.allSatisfy { place in
            let (key, lane) = (place / lanes, place % lanes)
            if lane >= vectors * kernel.vectorLanes { return weights[place].isNaN }
            var sum = 0.0
            for t in 0..<headDim { sum += Double(keys[key, t]) * Double(queries[t * lanes + lane]) }
            return isClose(weights[place], sum, within: 1e-5)
          }
          #expect(matches, "\(count) keys of \(headDim), \(vectors) vectors")
        }
      }
    }
  }

  @Test(arguments: KernelFixture.all)
  func accumulateAddsWeightedRows(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 2)
    let lanes = kernel.lanes
    for columns in 1...40 {
      for count in [1, 2, 5, 13] {
        let values = RowTable(count: count, columns: columns) { _, _ in generator.normal() }
        for (vectors, stride) in zip(kernel.vectorCounts, [lanes, lanes + 5, 2 * lanes]) {
          let weights = (0..<count * stride).map { _ in generator.normal() }
          let before = (0..<columns * lanes).map { _ in generator.normal() }
          var output = before
          values.withReading {
            kernel.functions.accumulate(
              $0, weights, Int64(stride), Int32(count), Int32(columns), Int32(vectors), &output,
              nil)
          }
          let matches = output.indices.allSatisfy { place in
            let (column, lane) = (place / lanes, place % lanes)
            if lane >= vectors * kernel.vectorLanes { return output[place] == before[place] }
            var sum = Double(before[place])
            for t in 0..<count {
              sum += Double(values[t, column]) * Double(weights[t * stride + lane])
            }
            return isClose(output[place], sum, within: 1e-5)
          }
          #expect(matches, "\(count) rows of \(columns), \(vectors) vectors")
        }
      }
    }
  }
}
