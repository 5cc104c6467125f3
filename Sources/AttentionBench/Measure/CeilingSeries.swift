/// The bursts by which the machine's ceilings of one placement were measured.
struct CeilingSeries {
  /// Enough to see drift; a size needs no more.
  static let maximumCount = 15

  private var flopRates: [Double] = []
  /// Bytes a second; nil when it was not taken.
  var readRate: Double?

  var count: Int { flopRates.count }

  /// The median so far, in flop/s.
  var flopRate: Double? { SampleSummary(flopRates)?.median }

  mutating func add(flopRate: Double) { flopRates.append(flopRate) }

  /// How far fastest and slowest burst lie apart, as a share of the median: more than a few percent
  /// mean that somebody else used the cores, or that their clock changed.
  var drift: Double {
    guard let summary = SampleSummary(flopRates), summary.median > 0 else { return 0 }
    return (summary.maximum - summary.minimum) / summary.median
  }

  func ceiling(n: Int, placement: SweepPlacement) -> MachineCeiling? {
    guard let summary = SampleSummary(flopRates) else { return nil }
    return MachineCeiling(
      n: n, threads: placement.threads, bind: "\(placement.binding)",
      fmaGflopPerSecond: summary.median / 1e9,
      fmaGflopRange: [summary.minimum / 1e9, summary.maximum / 1e9],
      readGBPerSecond: readRate.map { $0 / 1e9 })
  }
}
