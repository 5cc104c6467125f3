/// The 95% interval of a share that was counted.
///
/// Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22.
/// It stays within 0...1 and keeps its coverage where nothing or everything was found, where the
/// textbook interval shrinks to a point (Brown, Cai & DasGupta 2001, Statistical Science 16).
public struct WilsonInterval: Sendable, Hashable {
  public let lower: Double
  public let upper: Double

  /// The interval around `count` out of `total`; 0...1 when nothing was tried.
  public init(count: Int, of total: Int) {
    guard total > 0 else {
      (lower, upper) = (0, 1)
      return
    }
    // The normal quantile of 97.5%.
    let z = 1.959_963_984_540_054
    let (n, share) = (Double(total), Double(count) / Double(total))
    let centre = share + z * z / (2 * n)
    let half = z * (share * (1 - share) / n + z * z / (4 * n * n)).squareRoot()
    let scale = 1 + z * z / n
    // Exactly 0 and 1 at the ends, which rounding would miss.
    lower = count == 0 ? 0 : (centre - half) / scale
    upper = count == total ? 1 : (centre + half) / scale
  }
}
