import RealModule

/// Student's t distribution: how far a figure may lie off when its spread itself was estimated from
/// a few values.
public enum StudentT {
  /// The t that the absolute value of a t-distributed figure stays below with probability
  /// `confidence`: 12.7 for one degree of freedom and 95%, 1.96 for very many.
  ///
  /// Solves Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.3 and 26.7.4 (closed
  /// sums for whole degrees of freedom) by bisection of the angle arctan(t / sqrt(degrees)).
  ///
  /// - Precondition: `degrees >= 1` and `confidence` lies strictly between 0 and 1.
  public static func bound(degrees: Int, confidence: Double = 0.95) -> Double {
    precondition(degrees >= 1 && confidence > 0 && confidence < 1, "t needs degrees and a share")
    var (low, high) = (0.0, Double.pi / 2)
    // 60 halvings of a right angle end below the spacing of doubles.
    for _ in 0..<60 {
      let middle = (low + high) / 2
      if probability(angle: middle, degrees: degrees) < confidence {
        low = middle
      } else {
        high = middle
      }
    }
    return Double.tan((low + high) / 2) * Double(degrees).squareRoot()
  }

  /// P(|T| <= t) for t = sqrt(degrees) tan(angle).
  private static func probability(angle: Double, degrees: Int) -> Double {
    let (sine, cosine) = (Double.sin(angle), Double.cos(angle))
    let isOdd = !degrees.isMultiple(of: 2)
    var term = isOdd ? cosine : 1
    var sum = degrees == 1 ? 0 : term
    for k in stride(from: isOdd ? 3 : 2, to: degrees, by: 2) {
      term *= cosine * cosine * Double(k - 1) / Double(k)
      sum += term
    }
    return isOdd ? 2 / Double.pi * (angle + sine * sum) : sine * sum
  }
}
