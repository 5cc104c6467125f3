import AttentionContract
import AttentionKernels
import RealModule
import Tensors

/// Where one row of an online softmax stands, in log16 units, and how it is merged with the result
/// of an earlier one over other keys.
///
/// Milakov & Gimelshein 2018, arXiv 1805.02867.
struct SoftmaxState {
  /// The reference exponent; -inf before the first visible key.
  private(set) var maximum: Float
  /// Sum of weights relative to it.
  private(set) var sum: Float
  /// What turns the accumulator into the row's share of the output.
  private(set) var factor: Float

  init(maximum: Float, sum: Float) {
    self.maximum = maximum
    self.sum = sum
    // A row that saw nothing has sum 0 and output 0.
    factor = sum == 0 ? 0 : 1 / sum
  }

  /// 16^(score - reference), a score's weight.
  static func weight(_ score: Float, relativeTo reference: Float) -> Float {
    Float.exp2(4 * (score - reference))
  }

  /// log16 of the sum of 16^score; -inf when the row saw nothing.
  var logSumExp: Float { maximum + Float.log2(sum) / 4 }

  /// The same in natural units. Scores that saturated stand for the largest natural number.
  var naturalLogSumExp: Float {
    let sum = logSumExp
    let isSaturated = sum.isFinite && abs(sum) >= Float.largestLog16Score
    return isSaturated ? Float(signOf: sum, magnitudeOf: .greatestFiniteMagnitude) : sum * .ln16
  }

  /// Takes in a normalised output over other keys, where that stands.
  ///
  /// - Returns: the share of that output in the merged one.
  mutating func merge(_ earlier: SoftmaxState) -> Float {
    if earlier.sum == 0 { return 0 }
    let reference = max(earlier.maximum, maximum)
    let kept = earlier.sum * Self.weight(earlier.maximum, relativeTo: reference)
    let own = Self.weight(maximum, relativeTo: reference)
    maximum = reference
    sum = kept + own * sum
    factor = own / sum
    return kept / sum
  }

  /// Takes in a logit that has no value.
  ///
  /// - Returns: the share that everything before it keeps; 1 in a row that saw nothing, which it
  ///   leaves alone.
  mutating func add(sink: Float) -> Float {
    if sum == 0 || sink == -.infinity { return 1 }
    let reference = max(sink, maximum)
    let before = sum * Self.weight(maximum, relativeTo: reference)
    maximum = reference
    sum = before + Self.weight(sink, relativeTo: reference)
    factor *= before / sum
    return before / sum
  }
}
