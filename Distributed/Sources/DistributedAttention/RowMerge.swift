import Attention
import Glibc
import MachineTopology

/// Merges softmax results over disjoint keys, row by row, through their LSE.
///
/// With o1, l1 over some keys and o2, l2 over others, l = log(e^l1 + e^l2) and
/// o = e^(l1 - l) o1 + e^(l2 - l) o2: exact but for rounding. A row that saw no key has l = -inf and weighs
/// nothing. Milakov & Gimelshein 2018, arXiv 1805.02867.
package final class RowMerge: TeamJob, @unchecked Sendable {
  /// Strided rows of several heads.
  package struct Rows {
    let output: UnsafeMutablePointer<Float>
    let logSumExp: UnsafeMutablePointer<Float>
    /// Rows from one head to the next.
    let headRows: Int

    package init(
      output: UnsafeMutablePointer<Float>, logSumExp: UnsafeMutablePointer<Float>, headRows: Int
    ) {
      (self.output, self.logSumExp, self.headRows) = (output, logSumExp, headRows)
    }
  }

  private let workers: Int
  private var into: Rows?
  private var from: Rows?
  private var heads = 0
  private var rows = 0
  private var columns = 0

  package init(workers: Int) { self.workers = workers }

  /// What the next run on a team merges.
  package func set(_ from: Rows, into: Rows, heads: Int, rows: Int, columns: Int) {
    (self.from, self.into) = (from, into)
    (self.heads, self.rows, self.columns) = (heads, rows, columns)
  }

  package func work(worker: Int) {
    guard let from, let into else { return }
    let total = heads * rows
    for index in total * worker / workers..<total * (worker + 1) / workers {
      let (head, row) = index.quotientAndRemainder(dividingBy: rows)
      let (other, own) = (head * from.headRows + row, head * into.headRows + row)
      let weights = Self.weights(into.logSumExp[own], from.logSumExp[other])
      into.logSumExp[own] = weights.logSumExp
      let source = from.output + other * columns
      let target = into.output + own * columns
      for column in 0..<columns {
        // A factor of 0 also silences what is not a number beside it.
        let kept = weights.first == 0 ? 0 : weights.first * target[column]
        let added = weights.second == 0 ? 0 : weights.second * source[column]
        target[column] = kept + added
      }
    }
  }

  /// The shares of two results in the merged one, and its LSE.
  package static func weights(
    _ first: Float, _ second: Float
  ) -> (first: Float, second: Float, logSumExp: Float) {
    if second == -.infinity { return (1, 0, first) }
    if first == -.infinity { return (0, 1, second) }
    // In fp64: an LSE of some thousands has no digits left for a difference of its terms.
    let (a, b) = (Double(first), Double(second))
    let top = max(a, b)
    let (x, y) = (exp(a - top), exp(b - top))
    let sum = x + y
    return (Float(x / sum), Float(y / sum), Float(top + log(sum)))
  }
}
