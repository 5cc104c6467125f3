import AttentionContract
import AttentionKernels
import RealModule
import Tensors

/// Where one row of an online softmax stands, in log2 units, and how it is merged with the result
/// of an earlier one over other keys.
///
/// Milakov & Gimelshein 2018, arXiv 1805.02867.
struct SoftmaxState {
  /// The reference exponent; -inf before the first visible key.
  private(set) var maximum: Float
  /// Sum of weights relative to it.
  private var sum: Float
  /// What turns the accumulator into the row's share of the output.
  private(set) var factor: Float

  init(maximum: Float, sum: Float) {
    self.maximum = maximum
    self.sum = sum
    // A row that saw nothing has sum 0 and output 0.
    factor = sum == 0 ? 0 : 1 / sum
  }

  /// log2 of the sum of 2^score; -inf when the row saw nothing.
  var logSumExp: Float { maximum + Float.log2(sum) }

  /// The same in natural units. Log2 units end before natural ones do: what a bias of -FLT_MAX
  /// pressed against their end stands for that end.
  var naturalLogSumExp: Float {
    let limit = Float.greatestFiniteMagnitude
    let sum = logSumExp
    return abs(sum) == limit ? sum : sum * Float.ln2
  }

  /// Takes in a normalised output over other keys, of which only the LSE need be known here.
  ///
  /// - Returns: the share of that output in the merged one.
  mutating func merge(logSumExp earlier: Float) -> Float {
    if earlier == -.infinity { return 0 }
    let reference = max(earlier, maximum)
    let kept = Float.exp2(earlier - reference)
    let own = Float.exp2(maximum - reference)
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
    let before = sum * Float.exp2(maximum - reference)
    maximum = reference
    sum = before + Float.exp2(sink - reference)
    factor *= before / sum
    return before / sum
  }
}
