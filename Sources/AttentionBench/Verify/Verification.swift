import Attention

/// What checking one strategy on one problem came to.
public struct Verification: Sendable {
  /// Measured errors, and the bounds they are held to.
  public struct Comparison: Sendable {
    /// Against the strategy's own definition; of the exact class, the worse of that and full
    /// softmax attention.
    public let errors: RowErrors
    /// What rounding explains.
    public let bounds: ErrorBounds
    /// Query rows compared.
    public let rowsChecked: Int
  }

  /// How the check ended.
  public enum Outcome: Sendable {
    /// Every error is within its bound.
    case pass(Comparison)
    /// Some error is not.
    case fail(Comparison)
    /// The strategy refused a problem it should serve.
    case refused(AttentionError)
    /// Not run: it needs more memory than there is.
    case skipped(needed: ByteCount, limit: ByteCount)
  }

  /// The strategy with its parameters resolved.
  public let strategy: String
  /// What it computes.
  public let operatorClass: OperatorClass
  /// How the check ended.
  public let outcome: Outcome

  /// Whether this is a mismatch or a refusal.
  public var isFailure: Bool {
    switch outcome {
    case .pass, .skipped: false
    case .fail, .refused: true
    }
  }
}
