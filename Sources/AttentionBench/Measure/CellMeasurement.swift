/// The samples of one cell and the rule by which it has enough of them.
struct CellMeasurement {
  /// Why a cell gets no more samples.
  enum End: Equatable {
    /// Enough samples, and the interval as narrow as asked.
    case reached
    /// No time for another run.
    case timeSpent
    /// The most samples a cell may have.
    case maximumReached
    /// The whole sweep's budget is spent.
    case budgetSpent
  }

  private(set) var samples: [SampleRow] = []
  private(set) var involuntarySwitches = 0
  private var ticks = 0
  private var stolenTicks = 0
  private var knowsTicks = true
  /// Seconds of all samples.
  private(set) var seconds = 0.0

  mutating func add(_ sample: SampleRow, from before: Interference, to after: Interference) {
    samples.append(sample)
    seconds += sample.time
    involuntarySwitches += max(0, after.involuntarySwitches - before.involuntarySwitches)
    if let a = before.ticks, let b = after.ticks, let s = before.stolenTicks,
      let t = after.stolenTicks
    {
      ticks += max(0, b - a)
      // The kernel may correct its counters downwards by a little.
      stolenTicks += max(0, t - s)
    } else {
      knowsTicks = false
    }
  }

  var summary: SampleSummary? { SampleSummary(samples.map(\.time)) }

  /// The median over the samples of the processor time, in seconds.
  var cpuTime: Double? { SampleSummary(samples.map(\.cpuTime))?.median }

  /// Percent of the time on these CPUs that went to others; nil when the system does not say or
  /// the samples were too short for its ticks.
  var stealPercent: Double? {
    knowsTicks && ticks > 0 ? 100 * Double(stolenTicks) / Double(ticks) : nil
  }

  /// Whether, and why, the cell has all the samples it gets.
  ///
  /// - Parameters:
  ///   - allowance: seconds the cell may measure for.
  ///   - budgetLeft: seconds that the whole sweep has left; nil without a budget.
  func end(_ limits: SweepLimits, allowance: Double, budgetLeft: Double?) -> End? {
    guard let summary else { return nil }
    if summary.count >= limits.minimumSamples, isExact(summary, limits) { return .reached }
    if summary.count >= SweepLimits.maximumSamples { return .maximumReached }
    if let budgetLeft, summary.median > budgetLeft { return .budgetSpent }
    return seconds + summary.median > allowance ? .timeSpent : nil
  }

  private func isExact(_ summary: SampleSummary, _ limits: SweepLimits) -> Bool {
    // Below 6 samples the interval is all there is, and holds the median too rarely.
    summary.interval.coverage >= 0.95 && summary.relativeHalfWidth <= limits.relativeInterval
  }

  /// How the cell ended, and why it is not plainly ok.
  ///
  /// - Parameter allowance: as in `end`.
  func verdict(
    _ end: End, _ limits: SweepLimits, allowance: Double
  ) -> (status: Status, reason: String) {
    guard let summary else { return (.timeout, "no run was completed") }
    let spent =
      switch end {
      case .reached: ""
      case .maximumReached: "the most samples a cell gets"
      case .timeSpent:
        "another run of \(TimeSpan.rounded(seconds: summary.median)) does not fit "
          + (allowance < limits.cellTimeout
            ? "the cell's share of --budget \(limits.wording.budget)"
            : "--cell-timeout \(limits.wording.cellTimeout)")
          + " (\(TimeSpan.rounded(seconds: seconds)) measured)"
      case .budgetSpent: "--budget \(limits.wording.budget) has no time for another run"
      }
    if summary.count < limits.minimumSamples {
      return (.lowSamples, "\(summary.count) of \(limits.minimumSamples) samples: \(spent)")
    }
    if summary.relativeHalfWidth > limits.relativeInterval {
      return (.noisy, "\(noise(summary, limits)); \(spent)")
    }
    if summary.interval.coverage < 0.95 {
      let coverage = SignificantDigits.three(100 * summary.interval.coverage)
      return (.ok, "\(summary.count) samples: the interval holds the median with \(coverage)%")
    }
    return (.ok, "")
  }

  /// What is known of the causes.
  private func noise(_ summary: SampleSummary, _ limits: SweepLimits) -> String {
    let width = SignificantDigits.three(100 * summary.relativeHalfWidth)
    let quartiles =
      "quartiles \(TimeSpan.rounded(seconds: summary.lowerQuartile)) to "
      + TimeSpan.rounded(seconds: summary.upperQuartile)
    var causes = ["spread (\(quartiles))"]
    if let stealPercent, stealPercent >= 0.5 {
      causes.append("steal \(SignificantDigits.three(stealPercent))%")
    }
    if involuntarySwitches > 0 {
      causes.append("\(involuntarySwitches) involuntary context switches")
    }
    return "interval ±\(width)% > --rel-ci \(limits.wording.relativeInterval) after "
      + "\(summary.count) samples: \(causes.joined(separator: ", "))"
  }
}
