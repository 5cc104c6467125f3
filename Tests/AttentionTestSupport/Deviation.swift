import Attention

/// How far a result lies from the fp64 truth.
public struct Deviation: Sendable, CustomStringConvertible {
  /// The largest absolute error of any output element; infinite when one is NaN and should not be.
  public private(set) var maximum = 0.0
  /// The largest absolute error of any LSE, where the true one is finite.
  public private(set) var logSumExp = 0.0
  private var squaredError = 0.0
  private var squaredTruth = 0.0

  /// Nothing compared yet.
  public init() {}

  /// The Euclidean norm of the error over that of the truth.
  public var relativeL2: Double {
    squaredTruth == 0 ? squaredError.squareRoot() : (squaredError / squaredTruth).squareRoot()
  }

  /// Takes a row in.
  public mutating func add(
    _ output: some Sequence<Float>, logSumExp lse: Float?, truth: OracleRow
  ) {
    for (value, true_) in zip(output, truth.output) {
      let error = Deviation.distance(Double(value), true_)
      maximum = max(maximum, error)
      squaredError += error * error
      squaredTruth += true_ * true_
    }
    if let lse { logSumExp = max(logSumExp, Deviation.distance(Double(lse), truth.logSumExp)) }
  }

  /// |a - b|; 0 for equal infinities, infinity when one is NaN.
  private static func distance(_ a: Double, _ b: Double) -> Double {
    if a == b { return 0 }
    let distance = abs(a - b)
    return distance.isNaN ? .infinity : distance
  }

  /// All three figures.
  public var description: String {
    "max \(maximum), relative L2 \(relativeL2), LSE \(logSumExp)"
  }
}

/// Every row of an operator in fp64, in the order of batch, head and row.
public func oracleRows(_ oracle: any AttentionOracle, _ inputs: TestInputs) -> [OracleRow] {
  let views = InputViews(
    query: inputs.query.view, key: inputs.key.view, value: inputs.value.view)
  var rows: [OracleRow] = []
  var prepared: (batch: Int, head: Int, oracle: any AttentionOracle)?
  inputs.query.forEachRow { batch, head, row in
    let known = prepared.flatMap { ($0.batch, $0.head) == (batch, head) ? $0.oracle : nil }
    let own = known ?? oracle.prepared(views, batch: batch, head: head)
    prepared = (batch, head, own)
    rows.append(own.row(views, batch: batch, head: head, row: row))
  }
  return rows
}

extension TestOutputs {
  /// How far all rows lie from what `oracleRows` gave.
  public func deviation(from truth: [OracleRow]) -> Deviation {
    var deviation = Deviation()
    var index = 0
    output.forEachRow { batch, head, row in
      deviation.add(
        output[batch, head, row], logSumExp: logSumExp?[batch, head, row, 0], truth: truth[index])
      index += 1
    }
    return deviation
  }
}

extension NaiveSoftmax {
  /// How far the naive implementation lies from what `oracleRows` gave.
  public func deviation(from truth: [OracleRow], _ inputs: TestInputs) -> Deviation {
    var deviation = Deviation()
    var index = 0
    inputs.query.forEachRow { batch, head, row in
      let naive = self.row(inputs, batch: batch, head: head, row: row)
      deviation.add(naive.output, logSumExp: naive.logSumExp, truth: truth[index])
      index += 1
    }
    return deviation
  }
}
