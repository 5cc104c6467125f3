import Records
import Statistics
import Units

/// What checking the output of a cell came to.
public struct OutputCheck: Equatable, Sendable {
  /// The distances that go into the cell's row.
  public var accuracy: ResultRow.Accuracy
  /// Why the output is not what the strategy's definition gives; nil where it is.
  public var fault: String?
  /// Why a distance from full attention is missing; nil where there is one.
  public var remark: String?

  /// What was found.
  public init(accuracy: ResultRow.Accuracy, fault: String? = nil, remark: String? = nil) {
    self.accuracy = accuracy
    self.fault = fault
    self.remark = remark
  }

  /// The distances of an output.
  ///
  /// - Parameters:
  ///   - quality: from full softmax attention. It is none where that is not finite, as with a NaN among
  ///     the keys that the strategy does not look at; nil where it means nothing, for the strategy is
  ///     another function of operands that softmax attention does not have.
  ///   - correctness: from the strategy's own definition.
  ///   - recall: how much of full attention lies on the keys that the strategy keeps; nil of one that is no
  ///     softmax over a subset of them.
  init(quality: RowErrors?, correctness: Verification.Comparison, recall: Recall? = nil) {
    accuracy = ResultRow.Accuracy()
    accuracy.massKept = recall?.massKept
    accuracy.topKeysFound = recall?.topKeysFound
    accuracy.bestMass = recall?.bestMass
    accuracy.gainRealised = recall?.gainRealised
    accuracy.rowsChecked = correctness.rowsChecked
    accuracy.oracleRelativeL2 = correctness.errors.relativeL2
    fault = correctness.fault
    guard let quality else {
      remark = "needs a model trained for it"
      return
    }
    if quality.rowsUndefined > 0 {
      remark =
        "no error: full attention is not finite in \(quality.rowsUndefined) of "
        + "\(correctness.rowsChecked) checked rows"
    } else if !quality.relativeL2.isFinite {
      remark =
        "no error: the output is not finite in \(quality.rowsMissing) of "
        + "\(correctness.rowsChecked) checked rows where full attention is"
    } else {
      accuracy.relativeL2 = quality.relativeL2
      accuracy.maximumAbsolute = quality.maximum
    }
  }
}
