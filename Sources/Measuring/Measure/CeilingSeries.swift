import Attention
import Records
import Statistics
import Units

/// The bursts by which the machine's ceilings of one placement were measured.
struct CeilingSeries {
  /// Enough to see drift; a size needs no more.
  static let maximumCount = 15
  /// Bursts before the first cell at most.
  static let mostAtFirst = 9
  /// A drift that says that the peak did not hold still.
  static let notableDrift = 0.1

  private var flopRates: [Double] = []
  /// Bursts of other products: as many, or none where no cell takes them.
  private var productRates: [Arithmetic: [Double]] = [:]
  /// Bursts of the matrix library's products: as many, or none where no cell takes them.
  private var blasRates: [Double] = []
  private var shares: [Double] = []
  private var clocks: [Double] = []
  /// Bytes a second of each reading of memory.
  private var readRates: [Double] = []
  /// The same of each reading of the cells' own data, by how many bytes they are.
  private var workingSets: [WorkingSet: [Double]] = [:]

  var count: Int { flopRates.count }

  /// The median so far of the products of an arithmetic, in flop/s.
  func flopRate(_ arithmetic: Arithmetic) -> Double? {
    let rates = arithmetic == .float32 ? flopRates : productRates[arithmetic] ?? []
    return SampleSummary(rates)?.median
  }

  /// The median so far of the rates at which memory was read, in bytes/s; nil without any.
  var readRate: Double? { SampleSummary(readRates)?.median }

  /// Enters a reading of memory.
  mutating func add(readRate: Double) { readRates.append(readRate) }

  /// The median so far of the share of the FMA peak that the matrix library reached, in percent; nil
  /// where no cell uses it.
  var blasPercentOfPeak: Double? {
    guard let rate = SampleSummary(blasRates)?.median, let peak = flopRate(.float32), peak > 0
    else {
      return nil
    }
    return 100 * rate / peak
  }

  /// Enters a burst of the matrix library's products.
  mutating func add(blasRate: Double) { blasRates.append(blasRate) }

  /// Enters a reading of the cells' own data.
  mutating func add(readRate: Double, of set: WorkingSet) {
    workingSets[set, default: []].append(readRate)
  }

  /// Enters a burst of the products of an arithmetic other than fp32.
  mutating func add(flopRate: Double, of arithmetic: Arithmetic) {
    productRates[arithmetic, default: []].append(flopRate)
  }

  /// Enters a burst.
  ///
  /// - Parameters:
  ///   - share: of their cores that its threads got, 0 to 1; nil if unknown.
  ///   - clocks: the frequencies of the CPUs right after it, in Hz.
  mutating func add(flopRate: Double, share: Double? = nil, clocks: [Double] = []) {
    flopRates.append(flopRate)
    if let share { shares.append(share) }
    self.clocks += clocks
  }

  /// The share of their cores that the threads of the bursts got, their median, 0 to 1; nil if
  /// unknown.
  var coreShare: Double? { SampleSummary(shares)?.median }

  /// `the clock ran at 2.10 to 3.40 GHz`; nil where it held still, or is a constant that a virtual
  /// machine shows.
  var clockText: String? {
    guard let low = clocks.min(), let high = clocks.max(), low > 0, high > 1.03 * low else {
      return nil
    }
    return "the clock ran at \(SignificantDigits.three(low / 1e9)) to "
      + "\(SignificantDigits.three(high / 1e9)) GHz"
  }

  /// How far fastest and slowest burst lie apart, as a share of the median: more than a few percent
  /// mean that somebody else used the cores, or that their clock changed.
  var drift: Double {
    guard let summary = SampleSummary(flopRates), summary.median > 0 else { return 0 }
    return (summary.maximum - summary.minimum) / summary.median
  }

  private func workingSets(
    of placement: SweepPlacement, in caches: CacheCapacities
  ) -> [WorkingSetCeiling]? {
    let ceilings = workingSets.sorted { $0.key.bytes < $1.key.bytes }.compactMap { set, rates in
      SampleSummary(rates).map { summary in
        WorkingSetCeiling(
          bytes: set.bytes,
          level: caches.name(
            of: set.residentBytes, workers: placement.threads, rate: summary.median,
            memoryRate: readRate),
          gbPerSecond: summary.median / 1e9,
          gbRange: [summary.minimum / 1e9, summary.maximum / 1e9])
      }
    }
    return ceilings.isEmpty ? nil : ceilings
  }

  func ceiling(
    n: Int, placement: SweepPlacement, caches: CacheCapacities
  ) -> MachineCeiling? {
    guard let summary = SampleSummary(flopRates) else { return nil }
    return MachineCeiling(
      n: n, threads: placement.threads, bind: "\(placement.binding)",
      fmaGflopPerSecond: summary.median / 1e9,
      fmaGflopRange: [summary.minimum / 1e9, summary.maximum / 1e9],
      products: Dictionary(
        uniqueKeysWithValues: productRates.keys.compactMap { arithmetic in
          flopRate(arithmetic).map { (arithmetic, $0 / 1e9) }
        }),
      blasGflopPerSecond: SampleSummary(blasRates).map { $0.median / 1e9 },
      readGBPerSecond: readRate.map { $0 / 1e9 },
      workingSets: workingSets(of: placement, in: caches))
  }
}
