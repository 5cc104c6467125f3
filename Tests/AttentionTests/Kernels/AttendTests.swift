import AttentionTestSupport
import CAttentionKernels
import RealModule
import Testing

/// Online softmax over blocks, against a two-pass softmax in fp64.
@Suite struct AttendTests {
  /// A panel's state in arrays, and the truth beside it.
  private struct Panel {
    let lanes: Int
    let headDim: Int
    let valueDim: Int
    var queries: [Float]
    var weights: [Float]
    var output: [Float]
    var maxima: [Float]
    var sums: [Float]

    init(lanes: Int, headDim: Int, valueDim: Int, _ generator: inout TestGenerator, size: Float) {
      self.lanes = lanes
      self.headDim = headDim
      self.valueDim = valueDim
      queries = []
      for _ in 0..<headDim * lanes { queries.append(generator.normal() * size) }
      weights = .init(repeating: .nan, count: Int(ATTN_BLOCK_KEYS) * lanes)
      output = .init(repeating: 0, count: valueDim * lanes)
      maxima = .init(repeating: -.infinity, count: lanes)
      sums = .init(repeating: 0, count: lanes)
    }

    mutating func withKernelPanel(_ body: (inout attn_panel) -> Void) {
      queries.withUnsafeBufferPointer { queries in
        weights.withUnsafeMutableBufferPointer { weights in
          output.withUnsafeMutableBufferPointer { output in
            maxima.withUnsafeMutableBufferPointer { maxima in
              sums.withUnsafeMutableBufferPointer { sums in
                guard let q = queries.baseAddress, let w = weights.baseAddress,
                  let o = output.baseAddress, let m = maxima.baseAddress, let s = sums.baseAddress
                else { return }
                var panel = attn_panel(
                  queries: q, weights: w, output: o, maxima: m, sums: s,
                  head_dim: Int32(headDim), value_dim: Int32(valueDim))
                body(&panel)
              }
            }
          }
        }
      }
    }

    /// Whether a lane holds the softmax over the given keys.
    func holds(_ lane: Int, _ keys: RowTable, _ values: RowTable, seen: [Int]) -> Bool {
      let scores = seen.map { key in
        (0..<headDim).reduce(0.0) {
          $0 + Double(keys[key, $1]) * Double(queries[$1 * lanes + lane])
        }
      }
      guard let top = scores.max() else {
        return sums[lane] == 0 && maxima[lane] == -.infinity
          && (0..<valueDim).allSatisfy { output[$0 * lanes + lane] == 0 }
      }
      let weights = scores.map { Double.exp2($0 - top) }
      let sum = weights.reduce(0, +)
      let lse = Double(maxima[lane]) + Double.log2(Double(sums[lane]))
      // A score's roundings grow with the size of its terms, d of them a random walk.
      let terms = seen.map { key in
        (0..<headDim).reduce(0) { $0 + abs(keys[key, $1] * queries[$1 * lanes + lane]) }
      }
      let tolerance =
        1e-5 + 0x1p-24 * Double(terms.max() ?? 0) * (2 + Double(headDim).squareRoot())
      guard abs(lse - (top + Double.log2(sum))) < tolerance, Double(maxima[lane]) > top - 8.01
      else { return false }
      return (0..<valueDim).allSatisfy { column in
        let mean = zip(seen, weights).reduce(0.0) { $0 + Double(values[$1.0, column]) * $1.1 } / sum
        return isClose(output[column * lanes + lane] / sums[lane], mean, within: tolerance)
      }
    }
  }

  @Test(arguments: KernelFixture.all, [Float(0.3), 6])
  func attendMatchesSoftmax(_ kernel: KernelFixture, _ size: Float) {
    var generator = TestGenerator(seed: 4)
    let (lanes, width) = (kernel.lanes, kernel.vectorLanes)
    for (headDim, valueDim) in [(1, 1), (5, 3), (8, 17), (16, 40), (33, 2)] {
      for count in kernel.counts {
        let keys = RowTable(count: count, columns: headDim) { row, _ in
          generator.normal() + Float(row) * size / 4
        }
        let values = RowTable(count: count, columns: valueDim) { _, _ in generator.normal() }
        for (first, vectors) in kernel.vectorRanges {
          var panel = Panel(
            lanes: lanes, headDim: headDim, valueDim: valueDim, &generator, size: size)
          // In two calls, so that the second meets a state.
          let split = count / 3
          panel.withKernelPanel { panel in
            keys.withReading { keys in
              values.withReading { values in
                if split > 0 {
                  kernel.functions.attend(
                    &panel, keys, values, Int32(split), Int32(first), Int32(vectors))
                }
                kernel.functions.attend(
                  &panel, keys + split, values + split, Int32(count - split), Int32(first),
                  Int32(vectors))
              }
            }
          }
          let used = first * width..<(first + vectors) * width
          let matches = (0..<lanes).allSatisfy {
            panel.holds($0, keys, values, seen: used.contains($0) ? Array(0..<count) : [])
          }
          #expect(
            matches, "\(count) keys, d \(headDim), e \(valueDim), vectors \(first) + \(vectors)")
        }
      }
    }
  }

  /// Lanes with their own bounds; keys nobody sees are NaN, and their values too.
  @Test(arguments: KernelFixture.all)
  func maskedAttendSeesOnlyItsBounds(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 5)
    let (lanes, width) = (kernel.lanes, kernel.vectorLanes)
    for (headDim, valueDim) in [(1, 1), (5, 3), (8, 17), (16, 40)] {
      for count in kernel.counts {
        let firstKey = Int32(1000)
        var lower: [Int32] = []
        var upper: [Int32] = []
        for lane in 0..<lanes {
          // Below, inside, beyond the block; every seventh lane sees nothing.
          let start = firstKey + Int32(generator.pick(-3...count))
          lower.append(start)
          upper.append(lane % 7 == 3 ? start : start + Int32(generator.pick(0...count + 3)))
        }
        func sees(_ lane: Int, _ key: Int) -> Bool {
          lower[lane] <= firstKey + Int32(key) && firstKey + Int32(key) < upper[lane]
        }
        for (first, vectors) in kernel.vectorRanges {
          let own = first * width..<(first + vectors) * width
          let seen = (0..<count).map { key in own.contains { sees($0, key) } }
          let keys = RowTable(count: count, columns: headDim) { row, _ in
            seen[row] ? generator.normal() : .nan
          }
          let values = RowTable(count: count, columns: valueDim) { row, _ in
            seen[row] ? generator.normal() : .infinity
          }
          var panel = Panel(
            lanes: lanes, headDim: headDim, valueDim: valueDim, &generator, size: 2)
          panel.withKernelPanel { panel in
            keys.withReading { keys in
              values.withReading { values in
                kernel.functions.attend_masked(
                  &panel, keys, values, Int32(count), Int32(first), Int32(vectors), firstKey, lower,
                  upper)
              }
            }
          }
          let matches = (0..<lanes).allSatisfy { lane in
            panel.holds(
              lane, keys, values,
              seen: own.contains(lane) ? (0..<count).filter { sees(lane, $0) } : [])
          }
          #expect(
            matches, "\(count) keys, d \(headDim), e \(valueDim), vectors \(first) + \(vectors)")
        }
      }
    }
  }
}
