/// Tukey's outer fences: a sample beyond them is "far out".
///
/// The fences stand three interquartile ranges outside the quartiles, type 7 as everywhere here. A
/// label and no more: medians and quartiles are taken of all samples, which is why they are medians
/// and quartiles. Of a normal distribution one sample in 400,000 is far out; timings are skewed to
/// the right and have more. Fewer than 5 samples never have one, because the extreme then moves its
/// own quartile.
///
/// Source: Tukey, "Exploratory Data Analysis", Addison-Wesley 1977, section 2D.
public struct OutlierFences: Equatable, Sendable {
  /// Samples below are far out.
  public let lower: Double
  /// Samples above are far out.
  public let upper: Double

  /// The fences of the samples that were summarised.
  public init(_ summary: SampleSummary) {
    let reach = 3 * (summary.upperQuartile - summary.lowerQuartile)
    lower = summary.lowerQuartile - reach
    upper = summary.upperQuartile + reach
  }

  /// Whether a sample is far out.
  public func exclude(_ sample: Double) -> Bool { sample < lower || sample > upper }
}
