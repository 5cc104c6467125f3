import Attention
import Records
import Statistics
import Units

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

    /// Whether rounding explains every error.
    public var isWithinBounds: Bool { bounds.allow(errors) }

    /// What is wrong with the output, with the numbers; nil where rounding explains every error.
    public var fault: String? {
      if isWithinBounds { return nil }
      var found: [String] = []
      if errors.rowsMissing > 0 {
        found.append(
          "not finite in \(errors.rowsMissing) of \(rowsChecked) checked rows where its definition is"
        )
      }
      if errors.rowsInvented > 0 {
        found.append(
          "finite in \(errors.rowsInvented) of \(rowsChecked) checked rows where its definition is not"
        )
      }
      if found.isEmpty {
        let figures = [
          ("relative L2 error", errors.relativeL2, bounds.relativeL2),
          ("largest error", errors.maximum, bounds.maximum),
          ("LSE error", errors.logSumExp, bounds.logSumExp),
        ]
        found = figures.filter { !($0.1 <= $0.2) }.map { name, error, bound in
          "\(name) \(CellText.error(error)) in \(rowsChecked) checked rows, where rounding explains "
            + CellText.error(bound)
        }
      }
      return "the output is not what its definition gives: " + found.joined(separator: "; ")
    }
  }

  /// How the check ended.
  public enum Outcome: Sendable {
    /// Every error is within its bound.
    case pass(Comparison)
    /// Some error is not.
    case fail(Comparison)
    /// The strategy refused a problem it should serve.
    case refused(AttentionError)
    /// The strategy is not meant for such a problem: it has no causal form, or none under a window, a softcap
    /// or sinks.
    case unserved(AttentionError)
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
    case .pass, .skipped, .unserved: false
    case .fail, .refused: true
    }
  }
}
