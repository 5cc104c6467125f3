import Measuring
import Records
import Statistics
import Units

/// The time of a run as far as it is known: what can be told from it, and what cannot.
struct MeasuredTime: Equatable, Sendable {
  /// The median, in seconds.
  let seconds: Double
  /// Where it may be.
  let spread: ClosedRange<Double>

  /// Samples below which the interval between them holds the median too rarely.
  private static let leastSamples = 6

  /// A median and the ends of its interval. What only a few runs are known of gets half the tolerance
  /// of a search to either side.
  private init(_ seconds: Double, ends: [Double], samples: Int) {
    self.seconds = seconds
    let margin = samples < Self.leastSamples ? seconds * (SeriesSearch.tolerance - 1) / 2 : 0
    spread =
      min(ends.min() ?? seconds, seconds - margin)...max(ends.max() ?? seconds, seconds + margin)
  }

  /// The time of a candidate; nil where it was not measured.
  init?(_ candidate: Candidate) {
    guard let seconds = candidate.seconds else { return nil }
    self.init(seconds, ends: candidate.secondsInterval ?? [], samples: candidate.samples)
  }

  /// The time of some runs.
  init(_ runs: SampleSummary) {
    self.init(
      runs.median, ends: [runs.interval.lower, runs.interval.upper], samples: runs.count)
  }

  /// Whether this is faster beyond doubt.
  func isClearlyFaster(than other: MeasuredTime) -> Bool {
    spread.upperBound < other.spread.lowerBound
  }
}

extension Candidate {
  var time: MeasuredTime? { MeasuredTime(self) }
}
