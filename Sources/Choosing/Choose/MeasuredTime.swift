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

  /// The time of a candidate; nil where it was not measured. What only a few runs are known of gets
  /// half the tolerance of a search to either side.
  init?(_ candidate: Candidate) {
    guard let seconds = candidate.seconds else { return nil }
    self.seconds = seconds
    let ends = candidate.secondsInterval ?? []
    let margin =
      candidate.samples < Self.leastSamples ? seconds * (SeriesSearch.tolerance - 1) / 2 : 0
    spread =
      min(ends.min() ?? seconds, seconds - margin)...max(ends.max() ?? seconds, seconds + margin)
  }

  /// Whether this is faster beyond doubt.
  func isClearlyFaster(than other: MeasuredTime) -> Bool {
    spread.upperBound < other.spread.lowerBound
  }
}

extension Candidate {
  var time: MeasuredTime? { MeasuredTime(self) }
}
