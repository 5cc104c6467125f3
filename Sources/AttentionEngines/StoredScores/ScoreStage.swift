import AttentionContract
import AttentionKernels
import Tensors

/// How far the scores of a score matrix have come, in the order of operations.
public enum ScoreStage: String, Sendable, CaseIterable {
  /// `scale * q . k`, for every pair, hidden or not.
  case raw
  /// `c * tanh(scale * q . k / c)`, for every pair; as `raw` where the problem has no softcap.
  case softcapped
  /// With bias and slopes; -inf for a pair that pattern, mask or bias hides.
  case masked
  /// The softmax weights; 0 for a hidden pair, and in a row that sees no key. A sink logit takes
  /// its share, so that a row's sum stays below 1.
  case probabilities
}
