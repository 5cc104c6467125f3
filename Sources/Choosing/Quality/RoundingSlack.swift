import Measuring
import RealModule
import Records
import Statistics
import Units

/// What fp32 arithmetic can have done to a softmax row at worst.
///
/// Not an estimate: every rounding has relative error u = 2^-24 at most and all of them may
/// conspire (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, chapters 3 and 4).
/// With a = scale |q| max |k|, the largest a logit can be (or a sink logit, where that is larger):
///
/// - a logit sums d products in some order after the query was scaled: off by (d + 4) u a, and by
///   8 u a more where a softcap bounds it;
/// - subtracting the reference exponent rounds a difference of at most 2 a, and a rise of the
///   reference by 8 octaves or more, of which 2 a has room for a / 2.7, costs five roundings:
///   6 a u together;
/// - an exponential has relative error 4 u at most, and so have scale and logarithm;
/// - c positive weights, summed in any order, are off by c u relative to their sum;
/// - the LSE itself, at most a + ln c in size, is rounded in each of four steps, and in as many
///   again where passes are merged.
///
/// Together the logarithm of every weight, of their sum, and so the LSE, is off by at most
///
///     slack = 1.01 u ((d + 26) a + c + 8 ln c + 32)
///
/// where 1.01 pays for products of two errors. Weights that underflow are below 2^-118 of the sum
/// and lost in the same 32. It holds for any order of summation; it takes for granted that
/// reference exponents move as the softmax engine moves them, or less often.
struct RoundingSlack {
  /// The largest error of the natural logarithm of a weight, of a sum of weights, of an LSE.
  let logarithm: Double

  private init(logarithm: Double) { self.logarithm = logarithm }

  /// - Parameters:
  ///   - largestLogit: scale |q| max |k|.
  ///   - terms: keys that are summed over.
  init(headDim: Int, largestLogit: Double, terms: Int) {
    let count = Double(max(terms, 1))
    logarithm =
      1.01 * Double.exp2(-24)
      * ((Double(headDim) + 26) * largestLogit + count + 8 * Double.log(count) + 32)
  }

  /// The slack of what is merged from parts: their own, and that of the weights they get.
  var merged: RoundingSlack { RoundingSlack(logarithm: 2 * logarithm) }

  /// The largest factor, or its inverse, by which a weighted mean of positive numbers is off: its
  /// numerator and its denominator may be off in opposite directions.
  var meanFactor: Double { Double.exp(2 * logarithm) }

  /// The largest distance of a weighted mean of rows from what it should be, relative to the
  /// longest of them.
  var outputDistance: Double { Double.expMinusOne(2 * logarithm) }
}
