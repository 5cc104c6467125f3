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

  func ceiling(n: Int, placement: SweepPlacement) -> MachineCeiling? {
    guard let summary = SampleSummary(flopRates) else { return nil }
    return MachineCeiling(
      n: n, threads: placement.threads, bind: "\(placement.binding)",
      fmaGflopPerSecond: summary.median / 1e9,
      fmaGflopRange: [summary.minimum / 1e9, summary.maximum / 1e9],
      readGBPerSecond: readRate.map { $0 / 1e9 })
  }
}
