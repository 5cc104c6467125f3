import Attention
import Choosing
import Measuring
import Records
import Statistics
import Units

/// Rows whose own figures say that their output was wrong, whatever their status: older releases did not
/// hold every cell to its definition.
extension ResultRow {
  /// The largest error against a strategy's own definition that rounding leaves on most data, for the
  /// relative L2 norm. A sum of m products rounds m times, which grows as sqrt(m): scores sum over d,
  /// outputs over nKV. That large scores make more of it is why it is taken four times; a key too many
  /// or too few changes a row by about 1/sqrt(nKV), some hundred times more. Numbers that are narrower
  /// than fp32 are rounded once in addition, to half a unit in the last place.
  var explainedError: Double {
    let roundings =
      Double(shape.headDimension).squareRoot() + Double(shape.keyLength).squareRoot() + 2
    let sums = 4 * roundings * Double(Float.ulpOfOne) / 2
    let narrow: [(name: String, rounding: Double)] = [
      ("bf16", 0x1p-8), ("fp16", 0x1p-11),
    ]
    let types = [shape.elementType, arithmetic.rawValue]
    return narrow.reduce(sums) { error, type in
      types.contains { $0.contains(type.name) } ? max(error, sums + type.rounding) : error
    }
  }

  /// This row, as `wrong` where it claims to be measured and its error says otherwise, by the rule of
  /// `compare` with what rounding explains in place of another run.
  var judgedByError: ResultRow {
    guard status.isMeasured, let error = accuracy.oracleRelativeL2,
      ComparisonRules.isWorse(error, than: explainedError)
    else { return self }
    var row = self
    row.status = .wrong
    row.reason =
      "error against its own definition \(ErrorText.short(error)), and rounding explains "
      + "\(ErrorText.short(ComparisonRules.limit(over: explainedError))) at most: a release that "
      + "did not look called it \(status.rawValue)" + (reason.isEmpty ? "" : "; \(reason)")
    return row
  }
}
