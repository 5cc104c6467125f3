import Attention
import AttentionTestSupport
import CAttentionKernels
import Testing

/// Scores of an index and the choice among scores, against plain loops; what must not be read is NaN.
@Suite struct SelectionKernelTests {
  @Test(arguments: KernelFixture.all)
  func indexScoresAreTheirSums(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 51)
    let lanes = Int(kernel.functions.panel_lanes)
    for rows in [1, 2, 3, 4, 5, 9] {
      for (heads, columns) in [(1, 1), (3, 5), (4, 32)] {
        for vectors in kernel.vectorCounts {
          let width = vectors * kernel.vectorLanes
          let stride = lanes + 3
          let queries = (0..<heads * rows * columns).map { _ in generator.normal() }
          let weights = (0..<heads * rows).map { _ in generator.normal() }
          let keys = (0..<columns * lanes).map { $0 % lanes < width ? generator.normal() : .nan }
          var out = [Float](repeating: .nan, count: rows * stride)
          queries.withUnsafeBufferPointer { q in
            weights.withUnsafeBufferPointer { w in
              guard let query = q.baseAddress, let weight = w.baseAddress else { return }
              var index = attn_index(
                queries: query, query_head_stride: Int64(rows * columns),
                query_stride: Int64(columns), weights: weight, weight_head_stride: Int64(rows),
                weight_stride: 1, heads: Int32(heads), columns: Int32(columns), rows: Int32(rows))
              kernel.functions.index_scores(&index, keys, Int32(vectors), &out, Int64(stride))
            }
          }
          var worst = 0.0
          for row in 0..<rows {
            for lane in 0..<width {
              var truth = 0.0
              for head in 0..<heads {
                let product = (0..<columns).reduce(0.0) {
                  $0 + Double(queries[(head * rows + row) * columns + $1])
                    * Double(keys[$1 * lanes + lane])
                }
                truth += Double(weights[head * rows + row]) * max(0, product)
              }
              worst = max(worst, abs(truth - Double(out[row * stride + lane])))
            }
            #expect(out[row * stride + width..<(row + 1) * stride].allSatisfy { $0.isNaN })
          }
          #expect(worst < 1e-4, "\(rows) rows, \(heads) heads of \(columns)")
        }
      }
    }
  }

  /// A NaN must not become what is not positive.
  @Test(arguments: KernelFixture.all)
  func aNaNIsNoZero(_ kernel: KernelFixture) {
    let keys = [Float](repeating: .nan, count: Int(kernel.functions.panel_lanes))
    var out = [Float](repeating: 0, count: kernel.vectorLanes)
    let (query, weight): ([Float], [Float]) = ([1], [1])
    query.withUnsafeBufferPointer { q in
      weight.withUnsafeBufferPointer { w in
        guard let query = q.baseAddress, let weight = w.baseAddress else { return }
        var index = attn_index(
          queries: query, query_head_stride: 1, query_stride: 1, weights: weight,
          weight_head_stride: 1, weight_stride: 1, heads: 1, columns: 1, rows: 1)
        kernel.functions.index_scores(&index, keys, 1, &out, Int64(kernel.vectorLanes))
      }
    }
    #expect(out.allSatisfy { $0.isNaN })
  }

  @Test(arguments: KernelFixture.all)
  func whatReachesALimitIsKept(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 52)
    for count in [0, 1, 3, 15, 16, 17, 48, 100] {
      for least in [-Float.infinity, -0.5, 0, 1.5, .infinity] {
        let scores = (0..<count).map { place -> Float in
          place % 11 == 5 ? .nan : place % 7 == 3 ? 0 : generator.normal()
        }
        let expected = scores.indices.filter { scores[$0].isNaN || scores[$0] >= least }
        let counted = Int(kernel.functions.count_from(scores, Int64(count), least))
        #expect(counted == scores.filter { $0 >= least }.count)
        var kept = [Float](repeating: 0, count: count + 64)
        var keys = [Int32](repeating: 0, count: count + 64)
        let found = Int(
          kernel.functions.keep_from(scores, nil, 100, Int64(count), least, &kept, &keys))
        #expect(keys[..<found].map { Int($0) - 100 } == expected)
        #expect(
          kept[..<found].elementsEqual(expected.map { scores[$0].isNaN ? .infinity : scores[$0] }))
        // In place, with keys of their own.
        let again = kept.withUnsafeMutableBufferPointer { kept in
          keys.withUnsafeMutableBufferPointer { keys -> Int in
            guard let score = kept.baseAddress, let key = keys.baseAddress else { return 0 }
            return Int(
              kernel.functions.keep_from(score, key, 0, Int64(found), 0.25, score, key))
          }
        }
        let left = expected.filter { scores[$0].isNaN || scores[$0] >= 0.25 }
        #expect(keys[..<again].map { Int($0) - 100 } == left)
      }
    }
  }
}
