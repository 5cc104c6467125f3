import Attention
import AttentionTestSupport
import CAttentionKernels
import RealModule
import Testing

/// Rows that keep keys of their own, stretch by stretch, against plain loops.
@Suite struct KeptKernelTests {
  /// Who keeps what: lists of rising keys, followed by what is larger than any.
  private static func lists(
    rows: Int, keys: Int, share: Float, _ generator: inout TestGenerator
  ) -> [[Int32]] {
    (0..<rows).map { row in
      // One row keeps nothing and one everything.
      let share = row % 7 == 2 ? 0 : row % 7 == 5 ? 1 : share
      return (0..<Int32(keys)).filter { _ in generator.uniform() < share }
    }
  }

  @Test(arguments: KernelFixture.all)
  func visitsAreWhatRowsKeep(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 81)
    for (rows, size) in [(1, 1), (3, 16), (20, 33), (50, Int(ATTN_STRETCH_KEYS))] {
      for share in [0.02, 0.3, 0.9] as [Float] {
        let lists = Self.lists(rows: rows, keys: 3 * size, share: share, &generator)
        let stride = 3 * size + 16
        let flat = lists.flatMap { $0 + Array(repeating: .max, count: stride - $0.count) }
        var (cursors, found) = (
          [Int32](repeating: 0, count: rows), [Int32](repeating: 0, count: rows)
        )
        var visits = [attn_visit](repeating: attn_visit(row: 0, count: 0), count: rows)
        var places = [UInt8](repeating: 0, count: rows * size + 64)
        for stretch in 0..<3 {
          var pairs: Int64 = 0
          let count = flat.withUnsafeBufferPointer { flat in
            cursors.withUnsafeMutableBufferPointer { cursors in
              found.withUnsafeMutableBufferPointer { found -> Int in
                guard let keys = flat.baseAddress, let cursor = cursors.baseAddress,
                  let scratch = found.baseAddress
                else { return 0 }
                var kept = attn_kept_lists(
                  keys: keys, stride: Int64(stride), count: Int32(rows), cursors: cursor,
                  found: scratch)
                return Int(
                  kernel.functions.find_visits(
                    &kept, Int32(stretch * size), Int32((stretch + 1) * size), &visits, &places,
                    &pairs))
              }
            }
          }
          let own = lists.map { list in
            list.map { Int($0) - stretch * size }.filter { (0..<size).contains($0) }
          }
          let order = own.indices.filter { !own[$0].isEmpty }
            .sorted { (own[$0].count, $0) < (own[$1].count, $1) }
          #expect(visits[..<count].map { Int($0.row) } == order)
          #expect(visits[..<count].map { Int($0.count) } == order.map { own[$0].count })
          #expect(places[..<Int(pairs)].map { Int($0) } == order.flatMap { own[$0] })
        }
      }
    }
  }

  /// Two stretches one after the other, of one head and of two; what is kept by none is NaN.
  @Test(arguments: KernelFixture.all)
  func rowsAttendToWhatTheyKeep(_ kernel: KernelFixture) {
    let lanes = kernel.vectorLanes
    for (heads, vectors, valueVectors, softcap) in [
      (1, 1, 3, 0), (2, 2, 1, 0), (1, 8, 8, 0), (2, 15, 9, 0), (2, 3, 4, 2),
    ] as [(Int, Int, Int, Float)] {
      var generator = TestGenerator(seed: 82)
      let (rows, size, d, dV) = (21, 40, vectors * lanes, valueVectors * lanes)
      let lists = Self.lists(rows: rows, keys: 2 * size, share: 0.4, &generator)
      let kept = Set(lists.filter { $0.count < 2 * size }.joined())
      let lonely = lists.map { $0.filter { kept.contains($0) } }
      let queries = (0..<heads * rows * d).map { _ in generator.normal() / Float(d).squareRoot() }
      func matrix(_ columns: Int) -> [Float] {
        (0..<2 * size * columns).map {
          kept.contains(Int32($0 / columns)) ? generator.normal() : .nan
        }
      }
      let (keys, values) = (matrix(d), matrix(dV))
      var output = [Float](repeating: 0, count: heads * rows * dV)
      var maxima = [Float](repeating: -.infinity, count: heads * rows)
      var sums = [Float](repeating: 0, count: heads * rows)
      let room = rows * size + 16
      var (scores, weights, factors) = (
        [Float](repeating: .nan, count: heads * room),
        [Float](repeating: .nan, count: heads * room),
        [Float](repeating: .nan, count: heads * rows)
      )
      for stretch in 0..<2 {
        let own = lonely.map { list in
          list.map { Int($0) - stretch * size }.filter { (0..<size).contains($0) }
        }
        let visitors = own.indices.filter { !own[$0].isEmpty }
        let visits = visitors.map { attn_visit(row: UInt16($0), count: UInt16(own[$0].count)) }
        let places = visitors.flatMap { own[$0].map { UInt8($0) } }
        withPointers(queries, keys, values) { query, key, value in
          withMutablePointers(&output, &maxima, &sums) { out, maximum, sum in
            withMutablePointers(&scores, &weights, &factors) { score, weight, factor in
              var all = attn_kept_rows(
                heads: Int32(heads), queries: query, output: out, head_rows: Int64(rows),
                maxima: maximum, sums: sum, key_columns: Int32(d), value_columns: Int32(dV),
                softcap: softcap, head_pairs: Int64(room), scores: score, weights: weight,
                factors: factor)
              visits.withUnsafeBufferPointer { visits in
                places.withUnsafeBufferPointer { places in
                  guard let visit = visits.baseAddress, let place = places.baseAddress else {
                    return
                  }
                  var part = attn_stretch(
                    keys: key + stretch * size * d, values: value + stretch * size * dV,
                    visits: visit, visit_count: Int32(visits.count), places: place, prefetch: nil)
                  kernel.functions.attend_kept(&all, &part)
                }
              }
            }
          }
        }
      }
      var worst = 0.0
      for index in 0..<heads * rows {
        var (sum, truth) = (0.0, [Double](repeating: 0, count: dV))
        for key in lonely[index % rows] {
          var score = (0..<d).reduce(0.0) {
            $0 + Double(queries[index * d + $1]) * Double(keys[Int(key) * d + $1])
          }
          if softcap > 0 { score = Double(softcap) * Double.tanh(score / Double(softcap)) }
          let weight = Double.exp2(4 * score)
          sum += weight
          for column in 0..<dV { truth[column] += weight * Double(values[Int(key) * dV + column]) }
        }
        for column in 0..<dV {
          let out = Double(output[index * dV + column])
          let error = sum == 0 ? abs(out) : abs(out / Double(sums[index]) - truth[column] / sum)
          worst = max(worst, error.isNaN ? .infinity : error)
        }
      }
      #expect(worst < 1e-5, "\(heads) heads, \(d) and \(dV) columns")
    }
  }

  private func withPointers(
    _ a: [Float], _ b: [Float], _ c: [Float],
    _ body: (UnsafePointer<Float>, UnsafePointer<Float>, UnsafePointer<Float>) -> Void
  ) {
    a.withUnsafeBufferPointer { a in
      b.withUnsafeBufferPointer { b in
        c.withUnsafeBufferPointer { c in
          guard let a = a.baseAddress, let b = b.baseAddress, let c = c.baseAddress else { return }
          body(a, b, c)
        }
      }
    }
  }

  private func withMutablePointers(
    _ a: inout [Float], _ b: inout [Float], _ c: inout [Float],
    _ body: (
      UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>
    ) -> Void
  ) {
    a.withUnsafeMutableBufferPointer { a in
      b.withUnsafeMutableBufferPointer { b in
        c.withUnsafeMutableBufferPointer { c in
          guard let a = a.baseAddress, let b = b.baseAddress, let c = c.baseAddress else { return }
          body(a, b, c)
        }
      }
    }
  }
}
