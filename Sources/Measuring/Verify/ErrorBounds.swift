import Attention
import RealModule
import Records
import Statistics
import Units

/// The largest errors that rounding explains, for one strategy on one problem.
///
/// Every input is an fp32 number that already stands for others as near as a rounding, u = 2^-24.
/// The fp64 oracle is evaluated twice, on the inputs and on inputs moved by one such rounding, and
/// the difference, the problem's own sensitivity, is the unit of the bounds: large logits and
/// cancelling values make it larger for the oracle as they do for every fp32 computation. A sum of
/// m products rounds m times; the errors are independent enough that their effect grows as sqrt(m)
/// (Higham & Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci.
/// Comput. 41(5), 2019). Scores sum over d, outputs and denominators over nKV; a weight and the
/// final quotient round once each. So
///
///     bound = (sqrt(d) + sqrt(nKV) + 2) (sensitivity + u |reference|)
///
/// for the relative L2 error over all checked rows, and twice that for the largest single error,
/// with largest values in place of norms. By estimate, a key too many or too few changes the result
/// by about 1/sqrt(nKV) where weights are even, which is above the bound up to some million keys.
///
/// Products of bf16 numbers are compared with the oracle on operands rounded to bf16, exactly as the
/// kernels round them. What is left beside fp32 is the rounding of each softmax weight p_i to bf16, by
/// a relative d_i of at most u' = 2^-8, and of 0.43 u' in the root mean square for a mantissa that is
/// distributed logarithmically. Output and denominator are sums of the same rounded weights, so that
/// it changes the output by sum d_i p_i (v_i - o), in which the d_i are independent. Drawing d_i at
/// random with a root mean square of u'/2 changes the oracle by as much. Three times this difference
/// is added to each of the bounds; even two keys whose weights are off by u' in opposite directions
/// are within that.
///
/// Where rows of operands have scales (fp16 and 8-bit products), sums in fp16 and weights out of 255 are
/// rounded as well; an oracle in which these roundings are drawn at random says how far that takes a row, and
/// three times it comes on top likewise.
///
/// What roundings to few bits are allowed ends at a quarter of the output: more is not a rounding to anybody who
/// uses it, whatever explains it.
///
/// Numbers below 2^-126 count as zeros while a strategy computes: as many times that as a sum has roundings
/// comes on top, which tells only where outputs are hardly larger.
///
/// An output that is not stored as fp32 is rounded once more: half a unit in the last place of its
/// type, or half the distance of its subnormal numbers, comes on top. The oracle is evaluated on the
/// inputs as they are stored, so that storing them is no error.
public struct ErrorBounds: Sendable, Hashable {
  private static let mostOfFewBits = 0.25

  /// On the relative L2 error.
  public let relativeL2: Double
  /// On the absolute error of an output element.
  public let maximum: Double
  /// On the absolute error of a log-sum-exp.
  public let logSumExp: Double

  /// Bounds from what moving the inputs by a rounding did to the reference.
  ///
  /// - Parameter narrow: what rounding weights, and sums, to fewer bits than fp32 has did at random.
  init(_ problem: AttentionProblem, sensitivity: RowErrors, narrow: [RowErrors] = []) {
    let shape = problem.shape
    let roundings =
      Double(shape.headDim).squareRoot() + Double(shape.keyLength).squareRoot() + 2
    let unit = Double.exp2(-24)
    var own = (
      relativeL2: roundings * (sensitivity.relativeL2 + unit),
      maximum: 2 * roundings * (sensitivity.maximum + unit * sensitivity.largestValue)
    )
    // Numbers below the least normal one count as zeros, in sums as well.
    let flushed = roundings * Double(Float.leastNormalMagnitude)
    own.maximum += flushed
    if sensitivity.rootMeanSquare > 0 { own.relativeL2 += flushed / sensitivity.rootMeanSquare }
    own.relativeL2 += min(3 * narrow.map(\.relativeL2).reduce(0, +), Self.mostOfFewBits)
    for rounding in narrow { own.maximum += 3 * rounding.maximum }
    let type = problem.storage.output
    if type == .float32 {
      (relativeL2, maximum) = own
    } else {
      // It is the computed value that is rounded, not the reference.
      relativeL2 =
        own.relativeL2 + type.unitRoundoff * (1 + own.relativeL2)
        + (sensitivity.rootMeanSquare > 0 ? type.leastRoundoff / sensitivity.rootMeanSquare : 0)
      maximum =
        own.maximum + type.unitRoundoff * (sensitivity.largestValue + own.maximum)
        + type.leastRoundoff
    }
    // The logarithm of a sum near 1 is near 0, while its error is that of the sum.
    logSumExp =
      2 * roundings * (sensitivity.logSumExp + unit * max(sensitivity.largestLogarithm, 1))
      + 3 * narrow.map(\.logSumExp).reduce(0, +)
  }

  /// Whether errors are within the bounds. An error that is no number is not.
  public func allow(_ errors: RowErrors) -> Bool {
    errors.relativeL2 <= relativeL2 && errors.maximum <= maximum && errors.logSumExp <= logSumExp
  }
}
