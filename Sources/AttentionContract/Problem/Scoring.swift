import AttentionKernels
import Tensors

/// How a query row's scores become weights.
///
/// Order of operations: scale, softcap, additive bias, mask, softmax.
public struct Scoring: Sendable, Hashable {
  /// The factor on the scores; nil for `1 / sqrt(d)`.
  public var scale: Float?
  /// The limit c of the scores, `c * tanh(scale * q . k / c)`; nil leaves them as they are.
  ///
  /// Gemma Team 2024, arXiv 2408.00118.
  public var softcap: Float?
  /// A logit s for each query head that takes part in the softmax without a value: `exp(s)` is
  /// added to every row's denominator, and to its LSE, unless the row sees no key. Nil adds nothing,
  /// and so does -inf.
  public var sinkLogits: [Float]?

  /// The usual scale, no softcap and no sinks unless given.
  public init(scale: Float? = nil, softcap: Float? = nil, sinkLogits: [Float]? = nil) {
    self.scale = scale
    self.softcap = softcap
    self.sinkLogits = sinkLogits
  }

  /// Refuses what does not fit a shape or is out of range.
  func check(on shape: AttentionShape) throws(AttentionError) {
    if let scale, !scale.isFinite {
      throw AttentionError(
        .invalidArgument, argument: "scale", value: scale,
        advice: "must be a finite number; leave it out for 1/sqrt(headDim)")
    }
    if let softcap, !(softcap > 0 && softcap.isFinite) {
      throw AttentionError(
        .invalidArgument, argument: "softcap", value: softcap,
        advice: "must be a finite number above 0; leave it out for none")
    }
    try shape.expect(sinkLogits?.count, "sinkLogits", "logit", "query head", shape.heads, "heads")
    if let bad = sinkLogits?.first(where: { !($0 < .infinity) }) {
      throw AttentionError(
        .invalidArgument, argument: "sinkLogits", value: bad,
        advice: "must be a number below infinity; -inf for none")
    }
  }

  /// The scoring of some of the query heads: `count` of them from `first` on, `step` apart.
  func forHeads(_ first: Int, step: Int, count: Int) -> Scoring {
    var part = self
    part.sinkLogits = sinkLogits.map { logits in (0..<count).map { logits[first + $0 * step] } }
    return part
  }
}
