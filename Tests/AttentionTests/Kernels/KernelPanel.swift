import AttentionTestSupport
import CAttentionKernels
import RealModule

typealias KernelFunction = (UnsafePointer<attn_panel>, UnsafePointer<attn_block>) -> Void

/// A panel's state in arrays, and the truth beside it.
struct KernelPanel {
  let lanes: Int
  let headDim: Int
  let valueDim: Int
  var queries: [Float]
  var weights: [Float]
  var output: [Float]
  var maxima: [Float]
  var sums: [Float]
  var softcap: Float = 0
  /// `[count][lanes]`; empty for none.
  var bias: [Float] = []
  /// `[count]`, likewise.
  var keyBias: [Float] = []

  /// - Parameter size: that of the queries, as if scores were in log2 units.
  init(lanes: Int, headDim: Int, valueDim: Int, _ generator: inout TestGenerator, size: Float) {
    self.lanes = lanes
    self.headDim = headDim
    self.valueDim = valueDim
    queries = []
    for _ in 0..<headDim * lanes { queries.append(generator.normal() * size / 4) }
    weights = .init(repeating: .nan, count: Int(ATTN_BLOCK_KEYS) * lanes)
    output = .init(repeating: 0, count: valueDim * lanes)
    maxima = .init(repeating: -.infinity, count: lanes)
    sums = .init(repeating: 0, count: lanes)
  }

  /// Lets the first `vectors` vectors of lanes meet a block.
  ///
  /// - Parameter key: the key that place 0 stands for in the bounds.
  mutating func meet(
    _ function: KernelFunction, _ keys: RowTable, _ values: RowTable, pieces: [attn_piece],
    vectors: Int, key: Int32 = 0, bounds: [Range<Int32>] = []
  ) {
    let (bias, keyBias) = (bias, keyBias)
    let bounds = bounds.isEmpty ? Array(repeating: 0..<0, count: lanes) : bounds
    withKernelPanel(vectors: vectors) { panel in
      keys.withWords { keys in
        values.withWords { values in
          bounds.map(\.lowerBound).withUnsafeBufferPointer { lower in
            bounds.map(\.upperBound).withUnsafeBufferPointer { upper in
              pieces.withUnsafeBufferPointer { pieces in
                guard let lower = lower.baseAddress, let upper = upper.baseAddress,
                  let first = pieces.baseAddress
                else { return }
                bias.withUnsafeBufferPointer { bias in
                  keyBias.withUnsafeBufferPointer { keyBias in
                    var block = attn_block(
                      keys: keys, values: values, pieces: first, piece_count: Int32(pieces.count),
                      first_key: key, lower: lower, upper: upper, prefetch: nil,
                      bias: bias.baseAddress,
                      key_bias: keyBias.baseAddress, scales: nil)
                    function(&panel, &block)
                  }
                }
              }
            }
          }
        }
      }
    }
  }

  private mutating func withKernelPanel(vectors: Int, _ body: (inout attn_panel) -> Void) {
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
                head_words: Int32(headDim), value_dim: Int32(valueDim),
                vectors: Int32(vectors), factor: 1, softcap: softcap, query_scales: nil)
              body(&panel)
            }
          }
        }
      }
    }
  }

  /// Whether a lane holds the softmax over the given keys, with weights that are each off by a
  /// relative `rounding` at most.
  func holds(
    _ lane: Int, _ keys: RowTable, _ values: RowTable, seen: [Int], rounding: Double = 0
  ) -> Bool {
    // In log2 units: 16^x = 2^4x.
    let scores = seen.map { key in
      let product = (0..<headDim).reduce(0.0) {
        $0 + 4 * Double(keys[key, $1]) * Double(queries[$1 * lanes + lane])
      }
      let cap = 4 * Double(softcap)
      return (cap > 0 ? cap * Double.tanh(product / cap) : product)
        + (bias.isEmpty ? 0 : 4 * Double(bias[key * lanes + lane]))
    }
    guard let top = scores.max() else {
      return sums[lane] == 0 && maxima[lane] == -.infinity
        && (0..<valueDim).allSatisfy { output[$0 * lanes + lane] == 0 }
    }
    let weights = scores.map { Double.exp2($0 - top) }
    let sum = weights.reduce(0, +)
    let lse = 4 * Double(maxima[lane]) + Double.log2(Double(sums[lane]))
    // A score's roundings grow with the size of its terms, d of them a random walk.
    let terms = seen.map { key in
      (0..<headDim).reduce(0) { $0 + 4 * abs(keys[key, $1] * queries[$1 * lanes + lane]) }
    }
    let tolerance =
      1e-5 + 0x1p-24 * Double(terms.max() ?? 0) * (2 + Double(headDim).squareRoot())
    guard abs(lse - (top + Double.log2(sum))) < tolerance + 1.45 * rounding,
      4 * Double(maxima[lane]) > top - 8.01
    else { return false }
    return (0..<valueDim).allSatisfy { column in
      let terms = zip(seen, weights).map { Double(values[$0, column]) * $1 / sum }
      let mean = terms.reduce(0, +)
      // Each weight's share of it, and its share of the denominator.
      let moved = rounding * (terms.reduce(0) { $0 + abs($1) } + abs(mean))
      return isClose(
        output[column * lanes + lane] / sums[lane], mean, within: tolerance + moved)
    }
  }
}
