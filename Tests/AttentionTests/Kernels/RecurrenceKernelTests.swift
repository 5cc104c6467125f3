import Attention
import AttentionTestSupport
import CAttentionKernels
import RealModule
import Testing

/// The products of a recurrence's chunks, against their sums in fp64; what must not be read is NaN.
@Suite struct RecurrenceKernelTests {
  private static let nan = Float.nan

  @Test(arguments: KernelFixture.all)
  func productsMatchTheirSums(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 31)
    for triangle in [ATTN_RECTANGLE, ATTN_LOWER, ATTN_SOLVE] {
      for count in Array(kernel.counts) + [24, 48] {
        for vectors in kernel.vectorCounts {
          let width = vectors * kernel.vectorLanes
          let depth = triangle == ATTN_RECTANGLE ? generator.pick(1...17) : count
          let (leftStride, stride) = (depth + 3, width + 5)
          var left = [Float](repeating: Self.nan, count: count * leftStride)
          for r in 0..<count {
            for c in 0..<depth {
              let isRead = triangle == ATTN_RECTANGLE || c < r || triangle == ATTN_LOWER && c == r
              if isRead { left[r * leftStride + c] = 0.3 * generator.normal() }
            }
          }
          var right = [Float](repeating: Self.nan, count: depth * stride)
          for c in 0..<depth {
            for lane in 0..<width { right[c * stride + lane] = generator.normal() }
          }
          for adds in triangle == ATTN_SOLVE ? [1] : [0, 1] as [Int32] {
            var out = [Float](repeating: Self.nan, count: count * stride)
            for r in 0..<count {
              for lane in 0..<width {
                out[r * stride + lane] = adds == 1 ? generator.normal() : Self.nan
              }
            }
            var truth = out.map(Double.init)
            for r in 0..<count {
              for lane in 0..<width {
                var sum = adds == 1 ? truth[r * stride + lane] : 0
                let end = triangle == ATTN_RECTANGLE ? depth : triangle == ATTN_LOWER ? r + 1 : r
                for c in 0..<end {
                  let factor =
                    triangle == ATTN_SOLVE
                    ? truth[c * stride + lane] : Double(right[c * stride + lane])
                  sum += Double(left[r * leftStride + c]) * factor
                }
                truth[r * stride + lane] = sum
              }
            }
            out.withUnsafeMutableBufferPointer { out in
              guard let base = out.baseAddress else { return }
              right.withUnsafeBufferPointer { right in
                guard let other = triangle == ATTN_SOLVE ? UnsafePointer(base) : right.baseAddress
                else { return }
                kernel.functions.product(
                  left, Int64(leftStride), Int32(count), Int32(depth), other, Int64(stride),
                  Int32(vectors), triangle, adds, base, Int64(stride))
              }
            }
            let matches = out.indices.allSatisfy {
              isClose(out[$0], truth[$0], within: 1e-5 * max(1, abs(truth[$0])))
            }
            #expect(matches, "\(triangle), \(count) rows, \(depth) columns, \(vectors) vectors")
          }
        }
      }
    }
  }

  @Test(arguments: KernelFixture.all)
  func tokensAreTakenIn(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 32)
    for columns in [1, 2, 7, 16, 33] {
      for count in [1, 3, 24] {
        for vectors in kernel.vectorCounts {
          let width = vectors * kernel.vectorLanes
          let left = (0..<count * (columns + 2)).map { _ in generator.normal() }
          let stride = width + 3
          let right = (0..<count * stride).map { _ in generator.normal() }
          let keep = (0..<columns).map { _ in generator.uniform() }
          let before = (0..<columns * width).map { _ in generator.normal() }
          for keeps in [false, true] {
            var state = before
            keep.withUnsafeBufferPointer {
              kernel.functions.take_in(
                left, Int64(columns + 2), right, Int64(stride), Int32(count), Int32(columns),
                Int32(vectors),
                keeps ? $0.baseAddress : nil, &state)
            }
            let matches = state.indices.allSatisfy { place in
              let (c, lane) = (place / width, place % width)
              var sum = Double(before[place]) * (keeps ? Double(keep[c]) : 1)
              for t in 0..<count {
                sum += Double(left[t * (columns + 2) + c]) * Double(right[t * stride + lane])
              }
              return isClose(state[place], sum, within: 2e-5)
            }
            #expect(matches, "\(columns) columns, \(count) tokens")
          }
        }
      }
    }
  }

  @Test(arguments: KernelFixture.all)
  func sumsOfRows(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 35)
    let lanes = kernel.vectorLanes
    for count in [1, 2, lanes - 1, lanes, lanes + 1, 48] where count > 0 {
      let stride = (count + lanes - 1) / lanes * lanes + lanes
      let factors = (0..<3 * count).map { _ in generator.uniform() }
      var between = [Float](repeating: .nan, count: count * stride)
      kernel.functions.kept_between(factors, 3, Int32(count), Int64(stride), &between)
      // What is above the diagonal is not added.
      let rows = (0..<count * stride).map {
        $0 % stride <= $0 / stride ? generator.normal() : Float.nan
      }
      let before = (0..<count).map { _ in generator.normal() }
      var sums = before
      kernel.functions.add_lower_sums(rows, Int64(stride), Int32(count), &sums)
      let whole = (0..<count * stride).map { _ in generator.normal() }
      let start = (0..<stride).map { _ in generator.normal() }
      var added = start
      kernel.functions.add_rows(whole, Int64(stride), Int32(count), Int32(stride), &added)
      for t in 0..<count {
        var (kept, sum) = (1.0, Double(before[t]))
        for s in (0...t).reversed() {
          let isRight = isClose(between[t * stride + s], kept, within: 1e-5)
          #expect(isRight, "\(s) of \(t)")
          kept *= Double(factors[3 * s])
          sum += Double(rows[t * stride + s])
        }
        #expect(isClose(sums[t], sum, within: 1e-5))
      }
      for c in 0..<stride {
        let sum = (0..<count).reduce(Double(start[c])) { $0 + Double(whole[$1 * stride + c]) }
        #expect(isClose(added[c], sum, within: 2e-5))
      }
    }
  }

  @Test(arguments: KernelFixture.all)
  func dotsDecayOnTheWay(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 33)
    for vectors in [1, 3, 4, 5, 9] {
      let columns = vectors * kernel.vectorLanes
      for place in [0, 1, 2, 23] {
        let rows = (place + 2) * columns
        let row = (0..<columns).map { _ in generator.normal() }
        var keys = (0..<rows).map { _ in generator.normal() }
        var decays = (0..<rows).map { _ in generator.uniform() }
        // The row behind is not read, nor is the first decay needed.
        for c in 0..<columns { keys[(place + 1) * columns + c] = .nan }
        for c in 0..<columns { decays[(place + 1) * columns + c] = .nan }
        var scratch = [Float](repeating: .nan, count: (place + 1) * kernel.vectorLanes)
        var out = [Float](repeating: .nan, count: place + 1)
        kernel.functions.decayed_dots(
          row, keys, decays, Int64(columns), Int32(columns), Int32(place), &scratch, &out)
        for s in 0...place {
          var sum = 0.0
          for c in 0..<columns {
            var product = Double(row[c]) * Double(keys[s * columns + c])
            for t in s..<place { product *= Double(decays[(t + 1) * columns + c]) }
            sum += product
          }
          #expect(isClose(out[s], sum, within: 2e-5), "\(s) of \(place), \(columns) columns")
        }
      }
    }
  }

  @Test(arguments: KernelFixture.all)
  func exponentialsAreGoodToTheLastPlace(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 34)
    let lanes = kernel.vectorLanes
    var x: [Float] = [0, -0.0, -1e-30, -87.2, -87.4, -88.1, -1000, -1e4, -.infinity, .nan]
    while x.count < 64 * lanes { x.append(-90 * generator.uniform() * generator.uniform()) }
    var out = [Float](repeating: .nan, count: x.count)
    kernel.functions.exp_row(x, Int64(x.count), &out)
    for (x, y) in zip(x, out) {
      let truth = Double.exp(Double(x))
      if x.isNaN {
        #expect(y.isNaN)
      } else if truth < 1.18e-38 {
        #expect(y == 0, "exp(\(x)) = \(y)")
      } else {
        #expect(abs(Double(y) / truth - 1) < 1.3e-7, "exp(\(x)) = \(y)")
      }
    }
  }

  @Test(arguments: KernelFixture.all)
  func aStepIsWhatItSays(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 35)
    for columns in [1, 3, 4, 7, 32] {
      for vectors in kernel.vectorCounts {
        for (heads, erases) in [(1, false), (1, true), (3, true)] {
          let width = vectors * kernel.vectorLanes
          func numbers(_ count: Int) -> [Float] { (0..<count).map { _ in generator.normal() } }
          let (key, erase) = (numbers(columns), numbers(columns).map { 0.2 * $0 })
          let keep = (0..<columns).map { _ in generator.uniform() }
          let queries = numbers(heads * (columns + 1))
          let (value, before) = (numbers(width), numbers(columns * width))
          var state = before
          var out = [Float](repeating: .nan, count: heads * width)
          erase.withUnsafeBufferPointer { erase in
            key.withUnsafeBufferPointer { key in
              keep.withUnsafeBufferPointer { keep in
                queries.withUnsafeBufferPointer { queries in
                  guard let key = key.baseAddress, let keep = keep.baseAddress,
                    let queries = queries.baseAddress
                  else { return }
                  var token = attn_step(
                    key: key, erase: erases ? erase.baseAddress : nil, keep: keep,
                    queries: queries, query_stride: Int64(columns + 1), heads: Int32(heads),
                    columns: Int32(columns))
                  kernel.functions.step(
                    &token, Int32(vectors), value, &state, &out, Int64(width))
                }
              }
            }
          }
          var truth = [Double](repeating: 0, count: columns * width)
          for lane in 0..<width {
            var written = Double(value[lane])
            for c in 0..<columns {
              truth[c * width + lane] = Double(keep[c]) * Double(before[c * width + lane])
              if erases { written -= Double(erase[c]) * truth[c * width + lane] }
            }
            for c in 0..<columns { truth[c * width + lane] += Double(key[c]) * written }
          }
          let same = state.indices.allSatisfy { isClose(state[$0], truth[$0], within: 2e-5) }
          #expect(same, "\(columns) columns, \(heads) heads")
          for head in 0..<heads {
            for lane in 0..<width {
              var sum = 0.0
              for c in 0..<columns {
                sum += Double(queries[head * (columns + 1) + c]) * truth[c * width + lane]
              }
              #expect(isClose(out[head * width + lane], sum, within: 5e-5))
            }
          }
        }
      }
    }
  }
}
