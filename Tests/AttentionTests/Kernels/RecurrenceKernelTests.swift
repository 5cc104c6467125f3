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
                keeps ? $0.baseAddress : nil, nil, &state)
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
      kernel.functions.add_rows(whole, Int64(stride), Int32(count), Int32(stride), &added, nil)
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

  /// Equal numbers round the same way again and again.
  @Test(arguments: KernelFixture.all)
  func aSumOfManyCallsLosesNothing(_ kernel: KernelFixture) {
    let lanes = kernel.vectorLanes
    let row = [Float](repeating: 0.1, count: lanes)
    var (sum, lost) = ([Float](repeating: 0, count: lanes), [Float](repeating: 0, count: lanes))
    for calls in 1...20_000 {
      kernel.functions.add_rows(row, Int64(lanes), 1, Int32(lanes), &sum, &lost)
      if calls % 1000 == 0 {
        let truth = Double(calls) * Double(Float(0.1))
        #expect(sum.allSatisfy { abs(Double($0) / truth - 1) < 1.2e-7 }, "\(calls): \(sum[0])")
      }
    }
  }

  /// What a chunk reads of the state and of its own tokens is the sum of two products, whatever is prefetched
  /// on the way.
  @Test(arguments: KernelFixture.all)
  func rowsOfAChunkReadStateAndTokens(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 36)
    let elsewhere = [Float](repeating: 1, count: 1000)
    for triangle in [ATTN_RECTANGLE, ATTN_LOWER, ATTN_SOLVE] {
      for count in [1, 7, 16, 48] {
        for columns in [1, 33, 70] {
          for vectors in kernel.vectorCounts {
            let width = vectors * kernel.vectorLanes
            let (rowStride, squareStride, valueStride) = (columns + 3, count + 2, width + 5)
            let left = (0..<count * rowStride).map { _ in 0.3 * generator.normal() }
            let state = (0..<columns * width).map { _ in generator.normal() }
            var square = [Float](repeating: Self.nan, count: count * squareStride)
            for t in 0..<count where triangle != ATTN_RECTANGLE {
              for s in 0..<(triangle == ATTN_LOWER ? t + 1 : t) {
                square[t * squareStride + s] = 0.3 * generator.normal()
              }
            }
            let written = (0..<count * valueStride).map { _ in generator.normal() }
            var out = triangle == ATTN_SOLVE ? written : written.map { _ in Self.nan }
            var truth = written.map { triangle == ATTN_SOLVE ? Double($0) : 0 }
            for t in 0..<count {
              for lane in 0..<width {
                var sum = truth[t * valueStride + lane]
                for c in 0..<columns {
                  sum += Double(left[t * rowStride + c]) * Double(state[c * width + lane])
                }
                let end = triangle == ATTN_RECTANGLE ? 0 : triangle == ATTN_LOWER ? t + 1 : t
                for s in 0..<end {
                  let other = s * valueStride + lane
                  sum +=
                    Double(square[t * squareStride + s])
                    * (triangle == ATTN_SOLVE ? truth[other] : Double(written[other]))
                }
                truth[t * valueStride + lane] = sum
              }
            }
            elsewhere.withUnsafeBytes { bytes in
              left.withUnsafeBufferPointer { left in
                square.withUnsafeBufferPointer { square in
                  out.withUnsafeMutableBufferPointer { out in
                    guard let start = bytes.baseAddress, let left = left.baseAddress,
                      let square = square.baseAddress, let base = out.baseAddress
                    else { return }
                    var rows = attn_chunk_rows(
                      rows: left, row_stride: Int64(rowStride), count: Int32(count),
                      columns: Int32(columns), square: square,
                      square_stride: Int64(squareStride), triangle: triangle,
                      written_stride: Int64(valueStride), out_stride: Int64(valueStride))
                    var stretch = attn_row_stretch(start: start, stride: 200, bytes: 100, rows: 20)
                    withUnsafePointer(to: &stretch) {
                      var ahead = attn_ahead(
                        stretches: $0, count: 1, lines: 3, place: 0, row: 0, offset: 0)
                      written.withUnsafeBufferPointer { written in
                        guard let other = written.baseAddress else { return }
                        kernel.functions.chunk_rows(
                          &rows, state, triangle == ATTN_SOLVE ? UnsafePointer(base) : other,
                          Int32(vectors), &ahead, base)
                      }
                      #expect(ahead.place == 0 ? ahead.row < 20 : ahead.place == 1)
                    }
                  }
                }
              }
            }
            let matches = (0..<count).allSatisfy { t in
              (0..<width).allSatisfy { lane in
                let place = t * valueStride + lane
                return isClose(out[place], truth[place], within: 2e-5 * max(1, abs(truth[place])))
              }
            }
            #expect(matches, "\(triangle), \(count) rows, \(columns) columns, \(vectors) vectors")
          }
        }
      }
    }
  }

  @Test(arguments: KernelFixture.all)
  func dotsDecayOnTheWay(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 33)
    for vectors in [1, 3, 4, 5, 9] {
      let columns = vectors * kernel.vectorLanes
      for count in [1, 2, 3, 15, 16] {
        let size = count * columns
        let rows = (0..<size).map { _ in generator.normal() }
        let keys = (0..<size).map { _ in generator.normal() }
        // The first decay is not needed.
        let decays = (0..<size).map { $0 < columns ? Self.nan : generator.uniform() }
        var scratch = [Float](
          repeating: .nan, count: Int(ATTN_DECAYED_VECTORS) * kernel.vectorLanes)
        let stride = 16 + kernel.vectorLanes
        var out = [Float](repeating: .nan, count: count * stride)
        kernel.functions.decayed_dots(
          rows, keys, decays, Int64(columns), Int32(columns), Int32(count), -0.5, &scratch, &out,
          Int64(stride))
        for t in 0..<count {
          for s in 0...t {
            var sum = 0.0
            for c in 0..<columns {
              var product = -0.5 * Double(rows[t * columns + c]) * Double(keys[s * columns + c])
              for u in s..<t { product *= Double(decays[(u + 1) * columns + c]) }
              sum += product
            }
            #expect(
              isClose(out[t * stride + s], sum, within: 2e-5), "\(s) of \(t), \(columns) columns")
          }
        }
      }
    }
  }

  @Test(arguments: KernelFixture.all)
  func whatIsKeptOfKeys(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 37)
    for vectors in [1, 3] {
      let stride = vectors * kernel.vectorLanes
      for (first, count, block) in [(0, 1, 16), (0, 5, 2), (16, 16, 16), (32, 3, 16)] {
        let tokens = first + count
        let logs = (0..<tokens * stride).map { _ in -generator.uniform() }
        var (decays, kept) = (logs, logs.map { _ in Self.nan })
        kernel.functions.channel_decays(
          &decays, Int64(stride), Int32(tokens), Int32(stride), Int32(block), &kept)
        for t in 0..<tokens {
          for c in 0..<stride {
            let place = t * stride + c
            let sum = (t / block * block...t).reduce(0.0) { $0 + Double(logs[$1 * stride + c]) }
            #expect(isClose(decays[place], Double.exp(Double(logs[place])), within: 2e-7))
            #expect(isClose(kept[place], Double.exp(sum), within: 2e-6))
          }
        }
        let keys = (0..<tokens * stride).map { _ in generator.normal() }
        let over = (0..<stride).map { _ in generator.uniform() }
        // Of keys before, what was kept; of those to come, nothing yet.
        let before = keys.enumerated().map { $0.offset < first * stride ? $0.element : Self.nan }
        var result = before
        kernel.functions.keep_keys(
          keys, decays, over, Int64(stride), Int32(stride), Int32(first), Int32(count), &result)
        for c in 0..<stride {
          var after = 1.0
          for s in (0..<tokens).reversed() {
            let place = s * stride + c
            let factor = s < first ? Double(over[c]) : after
            #expect(isClose(result[place], Double(keys[place]) * factor, within: 1e-5))
            after *= Double(decays[place])
          }
        }
      }
    }
  }

  @Test(arguments: KernelFixture.all)
  func rowsAreTransposedAndScaled(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 38)
    let (lanes, wide) = (kernel.vectorLanes, Int(kernel.functions.panel_lanes))
    for (count, vectors) in [(1, 1), (lanes, 2), (wide - 1, 1), (wide, 3)] where count > 0 {
      let columns = vectors * lanes
      let stride = columns + 3
      let rows = (0..<count * stride).map { _ in generator.normal() }
      var out = [Float](repeating: Self.nan, count: columns * wide)
      kernel.functions.transpose_rows(rows, Int64(stride), Int32(count), Int32(columns), &out)
      let factors = (0..<count * stride).map { _ in generator.normal() }
      var (multiplied, repeated, scaled, unit) = (rows, rows, rows, rows)
      kernel.functions.multiply_rows(
        rows, Int64(stride), Int32(count), Int32(columns), factors, Int64(stride), 0.5,
        &multiplied)
      kernel.functions.multiply_rows(
        rows, Int64(stride), Int32(count), Int32(columns), factors, 0, 0.5, &repeated)
      kernel.functions.scale_rows(
        rows, Int64(stride), Int32(count), Int32(columns), factors, 2, 0.5, &scaled)
      kernel.functions.unit_rows(&unit, Int64(stride), Int32(count), Int32(columns), 1e-6)
      for r in 0..<count {
        let squares = (0..<columns).reduce(1e-6) {
          $0 + Double(rows[r * stride + $1]) * Double(rows[r * stride + $1])
        }
        for c in 0..<columns {
          let place = r * stride + c
          let x = Double(rows[place])
          #expect(out[c * wide + r] == rows[place])
          #expect(isClose(multiplied[place], 0.5 * x * Double(factors[place]), within: 1e-6))
          #expect(isClose(repeated[place], 0.5 * x * Double(factors[c]), within: 1e-6))
          #expect(isClose(scaled[place], 0.5 * x * Double(factors[2 * r]), within: 1e-6))
          #expect(isClose(unit[place], x / squares.squareRoot(), within: 1e-6))
        }
        // What is between rows stays.
        for c in columns..<stride { #expect(unit[r * stride + c] == rows[r * stride + c]) }
      }
      for c in 0..<columns {
        for r in count..<(count + lanes - 1) / lanes * lanes { #expect(out[c * wide + r] == 0) }
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
        for (heads, erases, isInPlace) in [
          (1, false, true), (1, true, true), (3, true, true), (1, false, false), (3, true, false),
        ] {
          let width = vectors * kernel.vectorLanes
          // Rows of the state before and after it, of which the lanes are a part where they are others.
          let (stride, afterStride) = isInPlace ? (width, width) : (width + 3, width + 5)
          func numbers(_ count: Int) -> [Float] { (0..<count).map { _ in generator.normal() } }
          let (key, erase) = (numbers(columns), numbers(columns).map { 0.2 * $0 })
          let keep = (0..<columns).map { _ in generator.uniform() }
          let queries = numbers(heads * (columns + 1))
          let (value, before) = (numbers(width), numbers(columns * stride))
          var state = isInPlace ? before : Array(repeating: .nan, count: columns * afterStride)
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
                  state.withUnsafeMutableBufferPointer { state in
                    before.withUnsafeBufferPointer { before in
                      guard let after = state.baseAddress, let before = before.baseAddress
                      else { return }
                      let source = isInPlace ? UnsafePointer(after) : before
                      var rows = attn_step_state(
                        before: source, before_stride: Int64(stride), after: after,
                        after_stride: Int64(afterStride), next: source)
                      kernel.functions.step(
                        &token, &rows, Int32(vectors), value, &out, Int64(width))
                    }
                  }
                }
              }
            }
          }
          var truth = [Double](repeating: 0, count: columns * width)
          for lane in 0..<width {
            var written = Double(value[lane])
            for c in 0..<columns {
              let old = Double(before[c * stride + lane])
              truth[c * width + lane] = Double(keep[c]) * old
              if erases { written -= Double(erase[c]) * old }
            }
            for c in 0..<columns { truth[c * width + lane] += Double(key[c]) * written }
          }
          let same = (0..<columns * afterStride).allSatisfy { place in
            let (row, lane) = place.quotientAndRemainder(dividingBy: afterStride)
            if lane >= width { return state[place].isNaN }
            return isClose(state[place], truth[row * width + lane], within: 2e-5)
          }
          #expect(same, "\(columns) columns, \(heads) heads, in place: \(isInPlace)")
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
