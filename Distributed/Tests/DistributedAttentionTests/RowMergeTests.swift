import Glibc
import Testing

import DistributedAttention

@Suite struct RowMergeTests {
  @Test(arguments: [(Float(0), Float(0)), (3, -2), (4000, 4001), (-80, 90), (-5000, -5003)])
  func sharesAreThoseOfSums(first: Float, second: Float) {
    let weights = RowMerge.weights(first, second)
    let difference = exp(Double(second) - Double(first))
    #expect(abs(Double(weights.first) - 1 / (1 + difference)) < 1e-7)
    #expect(abs(Double(weights.first) + Double(weights.second) - 1) < 1e-6)
    let logSumExp = Double(first) + log1p(difference)
    if logSumExp.isFinite {
      #expect(abs(Double(weights.logSumExp) - logSumExp) <= abs(logSumExp) * 1e-7 + 1e-7)
    }
  }

  @Test func rowsWithoutKeysWeighNothing() {
    #expect(RowMerge.weights(-.infinity, 2) == (0, 1, 2))
    #expect(RowMerge.weights(2, -.infinity) == (1, 0, 2))
    #expect(RowMerge.weights(-.infinity, -.infinity).logSumExp == -.infinity)
  }

  @Test func rowsMergeInAllHeads() {
    let (heads, rows, columns, longest) = (2, 3, 5, 4)
    var output = [Float](repeating: 1, count: heads * rows * columns)
    var logSumExp = [Float](repeating: 0, count: heads * rows)
    var other = [Float](repeating: 3, count: heads * longest * columns)
    var otherLogSumExp = [Float](repeating: 0, count: heads * longest)
    // Of the second head's second row the first result has no key; what stands there is not read.
    logSumExp[4] = -.infinity
    for column in 0..<columns { output[4 * columns + column] = .nan }
    let merge = RowMerge(workers: 2)
    output.withUnsafeMutableBufferPointer { output in
      logSumExp.withUnsafeMutableBufferPointer { logSumExp in
        other.withUnsafeMutableBufferPointer { other in
          otherLogSumExp.withUnsafeMutableBufferPointer { otherLogSumExp in
            guard let a = output.baseAddress, let b = logSumExp.baseAddress,
              let c = other.baseAddress, let d = otherLogSumExp.baseAddress
            else { return }
            merge.set(
              RowMerge.Rows(output: c, logSumExp: d, headRows: longest),
              into: RowMerge.Rows(output: a, logSumExp: b, headRows: rows), heads: heads,
              rows: rows, columns: columns)
            merge.work(worker: 0)
            merge.work(worker: 1)
          }
        }
      }
    }
    for row in 0..<heads * rows {
      for column in 0..<columns {
        #expect(output[row * columns + column] == (row == 4 ? 3 : 2))
      }
      #expect(abs(logSumExp[row] - (row == 4 ? 0 : Float(log(2.0)))) < 1e-6)
    }
  }
}
