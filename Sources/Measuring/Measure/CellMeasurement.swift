import Records
import Statistics
import Units

/// The samples of one cell and the rule by which it has enough of them.
package struct CellMeasurement {
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

  package private(set) var samples: [SampleRow] = []
  private(set) var involuntarySwitches = 0
  private var ticks = 0
  private var stolenTicks = 0
  private var knowsTicks = true
  private(set) var contention = CoreContention()
  /// How many workers the cell has.
  let threads: Int
  /// Whether each of them has a CPU: where they are more, they wait for each other.
  let hasOwnCPUs: Bool
  /// Seconds of all turns.
  private(set) var seconds = 0.0

  package init(threads: Int, cpus: Int?) {
    self.threads = threads
    hasOwnCPUs = threads <= cpus ?? threads
  }

  /// Enters a sample.
  ///
  /// - Parameter turn: the seconds it took, calls that are not timed included; nil without any.
  package mutating func add(
    _ sample: SampleRow, turn: Double? = nil, from before: Interference, to after: Interference
  ) {
    samples.append(sample)
    let turn = turn ?? sample.time
    seconds += turn
    involuntarySwitches += max(0, after.involuntarySwitches - before.involuntarySwitches)
    if hasOwnCPUs, let a = before.waitedSeconds, let b = after.waitedSeconds {
      contention.add(waited: b - a, time: turn, threads: threads)
    }
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

  package var summary: SampleSummary? { SampleSummary(samples.map(\.time)) }

  /// The samples, each with the word whether it is an outlier among them.
  var labelledSamples: [SampleRow] {
    guard let fences = summary.map(OutlierFences.init) else { return [] }
    return samples.map { sample in
      var labelled = sample
      labelled.isOutlier = fences.exclude(sample.time)
      return labelled
    }
  }

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
    if limits.guaranteesMinimum, summary.count < limits.minimumSamples { return nil }
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
      let found = "\(summary.count) of \(limits.minimumSamples) samples: \(spent)"
      return (.lowSamples, joined([found, contention.isBusy ? contention.text : "", outliers]))
    }
    if summary.relativeHalfWidth > limits.relativeInterval {
      return (.noisy, joined(["\(noise(summary, limits)); \(spent)", outliers]))
    }
    // A steady median is no proof: what takes turns with the workers may be steady as well.
    if contention.isBusy {
      return (.noisy, joined(["busy: \(disturbances.joined(separator: ", "))", outliers]))
    }
    if summary.interval.coverage < 0.95 {
      let coverage = SignificantDigits.three(100 * summary.interval.coverage)
      let found = "\(summary.count) samples: the interval holds the median with \(coverage)%"
      return (.ok, joined([found, outliers]))
    }
    return (.ok, outliers)
  }

  private func joined(_ sentences: [String]) -> String {
    sentences.filter { !$0.isEmpty }.joined(separator: "; ")
  }

  /// How many samples are outliers and how far they go; empty for none.
  private var outliers: String {
    let found = labelledSamples.filter { $0.isOutlier == true }.map(\.time)
    guard let least = found.min(), let most = found.max() else { return "" }
    let (low, high) = (TimeSpan.rounded(seconds: least), TimeSpan.rounded(seconds: most))
    return "\(found.count) of \(samples.count) samples far out "
      + "(\(low == high ? low : "\(low) to \(high)")), kept"
  }

  /// What is known of the causes.
  private func noise(_ summary: SampleSummary, _ limits: SweepLimits) -> String {
    let width = SignificantDigits.three(100 * summary.relativeHalfWidth)
    let quartiles =
      "quartiles \(TimeSpan.rounded(seconds: summary.lowerQuartile)) to "
      + TimeSpan.rounded(seconds: summary.upperQuartile)
    let causes = ["spread (\(quartiles))"] + disturbances
    return "interval ±\(width)% > --rel-ci \(limits.wording.relativeInterval) after "
      + "\(summary.count) samples: \(causes.joined(separator: ", "))"
  }

  /// What others did meanwhile.
  private var disturbances: [String] {
    var found: [String] = []
    if let stealPercent, stealPercent >= 0.5 {
      found.append("steal \(SignificantDigits.three(stealPercent))%")
    }
    if contention.waited > 0 { found.append(contention.text) }
    if involuntarySwitches > 0 {
      found.append(
        "\(involuntarySwitches) involuntary context switch"
          + (involuntarySwitches == 1 ? "" : "es"))
    }
    return found
  }
}
