/// How many independent samples a series of samples is worth.
///
/// Samples taken one after the other hang together where what disturbs them lasts longer than one
/// of them: a clock, another process, a cache that settles. They then say less than their number
/// promises. For a series in which each sample depends on the one before with the correlation r,
/// n samples are worth n (1 - r) / (1 + r): Bayley and Hammersley, "The effective number of
/// independent observations in an autocorrelated time series", Supplement to the Journal of the
/// Royal Statistical Society 8(2), 1946.
public enum IndependentCount {
  /// The number for `samples` in the order they were taken: all of them, unless their lag-1
  /// correlation is above what one in twenty independent series shows, 1.645 / sqrt(n). Ranks are
  /// correlated, not times, so that one outlier decides nothing.
  ///
  /// - Returns: from 1 to the number of samples; 0 for none.
  public static func of(_ samples: [Double]) -> Int {
    let count = Double(samples.count)
    let correlation = rankCorrelation(samples)
    guard samples.count >= 3, correlation > 1.645 / count.squareRoot() else { return samples.count }
    return max(1, Int(count * (1 - correlation) / (1 + correlation)))
  }

  /// Between each sample and the next, from -1 to 1; 0 where all are alike.
  private static func rankCorrelation(_ samples: [Double]) -> Double {
    let middle = Double(samples.count + 1) / 2
    let deviations = ranks(samples).map { $0 - middle }
    let variance = deviations.reduce(0) { $0 + $1 * $1 }
    guard variance > 0 else { return 0 }
    return zip(deviations, deviations.dropFirst()).reduce(0) { $0 + $1.0 * $1.1 } / variance
  }

  /// Ranks from 1; equal samples share the mean of theirs.
  private static func ranks(_ samples: [Double]) -> [Double] {
    let order = samples.indices.sorted { samples[$0] < samples[$1] }
    var ranks = Array(repeating: 0.0, count: samples.count)
    var start = 0
    while start < order.count {
      var end = start
      while end < order.count, samples[order[end]] == samples[order[start]] { end += 1 }
      for place in start..<end { ranks[order[place]] = Double(start + end + 1) / 2 }
      start = end
    }
    return ranks
  }
}
