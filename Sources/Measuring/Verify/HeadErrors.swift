import RealModule
import Records
import Statistics
import Units

/// How far an output lies from full softmax attention, head by head and over all.
///
/// The error is the relative L2 distance sqrt(sum |o - o_full|^2 / sum |o_full|^2) over the rows of
/// a head in all batch entries, or over all rows. Where every row was compared it is a fact. Where
/// rows were sampled it is an estimate, and `upper` is what a requirement is held against: a
/// one-sided 99% limit. The squared error is a ratio of two sums, so the estimator is the
/// combined ratio estimator of a stratified sample, heads being the strata, with linearised variance
/// and Student's t; sampling without replacement from N rows makes the variance smaller by
/// 1 - m / N (Cochran, "Sampling Techniques", 3rd ed., 1977, sections 6.4, 6.11).
public struct HeadErrors: Equatable, Sendable {
  /// A relative L2 error.
  public struct Estimate: Equatable, Sendable {
    /// The figure itself.
    public let value: Double
    /// What the true one is not above, with 99% confidence where rows were sampled.
    public let upper: Double

    /// A known error.
    public init(exactly value: Double) { self.init(value: value, upper: value) }

    /// An estimate with its limit.
    public init(value: Double, upper: Double) {
      self.value = value
      self.upper = upper
    }
  }

  /// Over all rows of all heads.
  public let whole: Estimate
  /// Over the rows of each query head.
  public let heads: [Estimate]
  /// Each query head's share of the squared norm of full attention: times its squared error it is what
  /// the head contributes to the squared error of the whole.
  public let headShares: [Double]
  /// Rows that were compared, of all heads together.
  public let rowsChecked: Int
  /// Rows there are, as far as full attention is finite on them.
  public let rows: Int
  /// Rows that were looked at and on which full attention is not finite: from there no distance can be
  /// taken.
  public let rowsUndefined: Int

  /// The head that is furthest off.
  public var worstHead: Estimate {
    heads.max { ($0.upper, $0.value) < ($1.upper, $1.value) } ?? whole
  }

  /// Errors as given, for choices among made-up figures; heads of equal norm unless said otherwise.
  public init(
    whole: Estimate, heads: [Estimate], headShares: [Double]? = nil, rowsChecked: Int, rows: Int,
    rowsUndefined: Int = 0
  ) {
    self.whole = whole
    self.heads = heads
    self.headShares =
      headShares ?? Array(repeating: 1 / Double(max(heads.count, 1)), count: heads.count)
    self.rowsChecked = rowsChecked
    self.rows = rows
    self.rowsUndefined = rowsUndefined
  }

  /// Errors from compared rows.
  ///
  /// - Parameters:
  ///   - sums: one for each query head.
  ///   - referenceError: what the reference itself may be off, relatively: by the triangle
  ///     inequality it adds to every figure.
  init(_ sums: [SquaredErrors], rowsPerHead: Int, referenceError: Estimate) {
    func widened(_ estimate: Estimate) -> Estimate {
      Estimate(
        value: estimate.value + referenceError.value,
        upper: estimate.upper + referenceError.upper)
    }
    heads = sums.map { widened(SquaredErrors.estimate([$0], rowsPerStratum: rowsPerHead)) }
    whole = widened(SquaredErrors.estimate(sums, rowsPerStratum: rowsPerHead))
    let norms = sums.map { $0.total(\.reference, ofRows: rowsPerHead) }
    let total = norms.reduce(0, +)
    headShares = norms.map { total > 0 ? $0 / total : 0 }
    rowsChecked = sums.reduce(0) { $0 + $1.count }
    rows = sums.reduce(0) { $0 + $1.rows(of: rowsPerHead) }
    rowsUndefined = sums.reduce(0) { $0 + $1.undefinedCount }
  }
}

/// Squared row errors and squared reference rows of one head, and what their variance needs.
package struct SquaredErrors: Equatable, Sendable {
  package private(set) var count = 0
  package private(set) var undefinedCount = 0
  private(set) var error = 0.0
  private(set) var reference = 0.0
  private var errorSquares = 0.0
  private var referenceSquares = 0.0
  private var products = 0.0

  /// No rows yet.
  package init() {}

  /// Adds a row: its squared error and its reference's squared norm.
  package mutating func add(error rowError: Double, reference rowReference: Double) {
    count += 1
    error += rowError
    reference += rowReference
    errorSquares += rowError * rowError
    referenceSquares += rowReference * rowReference
    products += rowError * rowReference
  }

  /// Passes over a row from whose reference no distance can be taken.
  package mutating func addUndefined() { undefinedCount += 1 }

  /// How many of `rows` rows have a distance, by the share of those that were looked at.
  func rows(of rows: Int) -> Int {
    undefinedCount == 0
      ? rows
      : Int((Double(rows) * Double(count) / Double(count + undefinedCount)).rounded())
  }

  /// A sum over all of the stratum's rows, from those that were looked at: strata of equal size that
  /// were sampled alike would need no weights, others do.
  func total(_ sum: (SquaredErrors) -> Double, ofRows rows: Int) -> Double {
    sum(self) * Double(self.rows(of: rows)) / Double(max(count, 1))
  }

  /// The variance of the sum of x - R y over the stratum's N rows, estimated from its m.
  private func variance(ratio: Double, of rows: Int) -> Double {
    guard count > 1, count < rows else { return 0 }
    let (m, n) = (Double(count), Double(rows))
    let squares =
      errorSquares - 2 * ratio * products + ratio * ratio * referenceSquares
    let mean = (error - ratio * reference) / m
    let deviation = max(0, squares - m * mean * mean) / (m - 1)
    return n * n * (1 - m / n) * deviation / m
  }

  /// The relative error over strata of `rowsPerStratum` rows each.
  package static func estimate(
    _ strata: [SquaredErrors], rowsPerStratum rows: Int
  ) -> HeadErrors.Estimate {
    func total(_ sum: (SquaredErrors) -> Double) -> Double {
      strata.reduce(0) { $0 + $1.total(sum, ofRows: rows) }
    }
    if strata.allSatisfy({ $0.count == 0 }) { return HeadErrors.Estimate(exactly: .infinity) }
    let (error, reference) = (total(\.error), total(\.reference))
    if error == 0 { return HeadErrors.Estimate(exactly: 0) }
    let ratio = error / reference
    guard ratio.isFinite else { return HeadErrors.Estimate(exactly: .infinity) }
    let variance = strata.reduce(0) { $0 + $1.variance(ratio: ratio, of: $1.rows(of: rows)) }
    let degrees = strata.reduce(0) { $0 + max(1, $1.count - 1) }
    let limit = ratio + oneSided99(degrees) * variance.squareRoot() / reference
    return HeadErrors.Estimate(value: ratio.squareRoot(), upper: limit.squareRoot())
  }

  /// The 99% quantile of Student's t, by Cornish and Fisher's expansion around the normal's 2.326
  /// (Abramowitz and Stegun 26.7.5): within 1% from 5 degrees of freedom on.
  package static func oneSided99(_ degrees: Int) -> Double {
    let z = 2.326_347_9
    let v = Double(max(degrees, 1))
    let g1 = (z * z * z + z) / 4
    let g2 = (5 * Double.pow(z, 5) + 16 * z * z * z + 3 * z) / 96
    let g3 = (3 * Double.pow(z, 7) + 19 * Double.pow(z, 5) + 17 * z * z * z - 15 * z) / 384
    return z + g1 / v + g2 / (v * v) + g3 / (v * v * v)
  }
}
