import Attention
import RealModule

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
/// with largest values in place of norms. A key too many or too few changes the result by about
/// 1/sqrt(nKV), which is above the bound up to some million keys.
///
/// Products of bf16 numbers are compared with the oracle on operands rounded to bf16, exactly as the
/// kernels round them. What is left beside fp32 is the rounding of each softmax weight p_i to bf16, by
/// a relative d_i of at most u' = 2^-8, and of u'/2 in the root mean square (0.43 u' for a mantissa
/// that is distributed logarithmically). Output and denominator are sums of the same rounded weights,
/// so that it changes the output by sum d_i p_i (v_i - o), in which the d_i are independent. Moving
/// every value by u'/2, up or down at random, changes the oracle by as much but for the part of o,
/// which is at most u'/2 |o|. This difference and u'/2 |o| are added to the relative L2 error, twice
/// both to the largest error, and u', the most by which a sum of rounded weights can be off, to the
/// log-sum-exp. A key too many or too few then shows up to about 60,000 keys.
///
/// An output that is not stored as fp32 is rounded once more: half a unit in the last place of its
/// type, or half the distance of its subnormal numbers, comes on top. The oracle is evaluated on the
/// inputs as they are stored, so that storing them is no error.
public struct ErrorBounds: Sendable, Hashable {
  /// On the relative L2 error.
  public let relativeL2: Double
  /// On the absolute error of an output element.
  public let maximum: Double
  /// On the absolute error of a log-sum-exp.
  public let logSumExp: Double

  /// Bounds from what moving the inputs by a rounding did to the reference.
  ///
  /// - Parameter weights: what moving the values by half a rounding of the weights did, where those
  ///   are rounded to the operands of `arithmetic`.
  init(
    _ problem: AttentionProblem, sensitivity: RowErrors, arithmetic: Arithmetic = .float32,
    weights: RowErrors? = nil
  ) {
    let shape = problem.shape
    let roundings =
      Double(shape.headDim).squareRoot() + Double(shape.keyLength).squareRoot() + 2
    let unit = Double.exp2(-24)
    var own = (
      relativeL2: roundings * (sensitivity.relativeL2 + unit),
      maximum: 2 * roundings * (sensitivity.maximum + unit * sensitivity.largestValue)
    )
    let half = weights == nil ? 0 : arithmetic.unitRoundoff / 2
    if let weights {
      own.relativeL2 += weights.relativeL2 + half
      own.maximum += 2 * (weights.maximum + half * sensitivity.largestValue)
    }
    let type = problem.elements.query
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
      + 2 * half
  }

  /// Whether errors are within the bounds. An error that is no number is not.
  public func allow(_ errors: RowErrors) -> Bool {
    errors.relativeL2 <= relativeL2 && errors.maximum <= maximum && errors.logSumExp <= logSumExp
  }
}
