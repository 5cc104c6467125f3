import Attention
import Records
import Statistics
import Units

/// How far computed rows are from a reference, gathered row by row.
public struct RowErrors: Sendable, Hashable {
  /// The largest absolute error of an output element.
  public private(set) var maximum = 0.0
  /// The largest absolute error of a log-sum-exp; 0 where both are -inf.
  public private(set) var logSumExp = 0.0
  /// Rows with an element that is not finite where the reference's is.
  public private(set) var rowsMissing = 0
  /// Rows with an element that is a number where the reference has none.
  public private(set) var rowsInvented = 0
  /// Rows whose reference is not finite: no distance can be taken from them.
  public private(set) var rowsUndefined = 0
  private var squaredError = 0.0
  private var squaredReference = 0.0
  private var finiteCount = 0
  private var largestReference = 0.0
  private var largestLogSumExp = 0.0

  /// The Euclidean norm of all errors over that of the reference: 0 where both are 0, infinite
  /// where only the reference is.
  public var relativeL2: Double {
    squaredError == 0 ? 0 : (squaredError / squaredReference).squareRoot()
  }

  var rootMeanSquare: Double {
    finiteCount == 0 ? 0 : (squaredReference / Double(finiteCount)).squareRoot()
  }

  /// The largest absolute value of the reference.
  var largestValue: Double { largestReference }
  /// The largest magnitude of the reference's finite log-sum-exps.
  var largestLogarithm: Double { largestLogSumExp }

  /// No rows yet.
  init() {}

  /// The errors of rows against as many reference rows.
  init(of rows: [OracleRow], against references: [OracleRow]) {
    for (row, reference) in zip(rows, references) { add(row, reference: reference) }
  }

  /// Adds one row. Where the reference is not a number, as with a NaN in the user's own input, the
  /// computed element must not be one either.
  mutating func add(_ row: OracleRow, reference: OracleRow) {
    let places = zip(row.output, reference.output)
    if places.contains(where: { !$0.isFinite && $1.isFinite }) { rowsMissing += 1 }
    if places.contains(where: { $0.isFinite && !$1.isFinite }) { rowsInvented += 1 }
    if reference.output.contains(where: { !$0.isFinite }) { rowsUndefined += 1 }
    for (value, expected) in places {
      let error = Self.error(value, expected)
      maximum = max(maximum, error)
      squaredError += error * error
      guard expected.isFinite else { continue }
      squaredReference += expected * expected
      finiteCount += 1
      largestReference = max(largestReference, abs(expected))
    }
    logSumExp = max(logSumExp, Self.error(row.logSumExp, reference.logSumExp))
    if reference.logSumExp.isFinite {
      largestLogSumExp = max(largestLogSumExp, abs(reference.logSumExp))
    }
  }

  private static func error(_ value: Double, _ expected: Double) -> Double {
    if value == expected { return 0 }
    if value.isFinite && expected.isFinite { return abs(value - expected) }
    return value.isNaN && expected.isNaN ? 0 : .infinity
  }
}
