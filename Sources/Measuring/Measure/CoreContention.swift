import Records
import Statistics
import Units

/// How long the threads of a cell were ready and waited for a core that something else held.
///
/// The kernel's own account of waiting (`schedstat`) tells this apart from everything else that
/// makes processor time fall short of time x threads: a thread that has run out of work, or sleeps,
/// does not wait. And it shows what medians hide: a neighbour that takes a core for 4 ms every 8 ms
/// leaves most runs of half a millisecond alone.
struct CoreContention {
  /// Seconds below which a wait is a thread being woken: a slice of the scheduler, which is what a
  /// neighbour costs, takes 0.7 ms at least.
  static let leastWait = 2e-4
  /// The share of waiting that speaks of a busy core: more than twice the interval that a median is
  /// asked to have.
  static let busyShare = 0.05

  /// Thread seconds of waiting, wake-ups left out.
  private(set) var waited = 0.0
  /// Seconds times threads of all samples.
  private(set) var offered = 0.0
  /// How many samples were disturbed.
  private(set) var disturbed = 0
  /// How many samples there are.
  private(set) var samples = 0

  /// Enters a sample of `time` seconds on `threads` threads that together waited `waited` seconds.
  mutating func add(waited sample: Double, time: Double, threads: Int) {
    samples += 1
    offered += time * Double(threads)
    guard sample >= Self.leastWait else { return }
    disturbed += 1
    // The account holds the moments around the run too.
    waited += min(sample, time * Double(threads))
  }

  /// Joins the account of other samples to this one.
  mutating func add(_ other: CoreContention) {
    waited += other.waited
    offered += other.offered
    disturbed += other.disturbed
    samples += other.samples
  }

  /// The share of their time that the threads waited; nil without samples.
  var share: Double? { offered > 0 ? waited / offered : nil }

  /// Whether something else used the cores. One disturbed sample is an accident, and an outlier.
  var isBusy: Bool { disturbed >= 2 && (share ?? 0) >= Self.busyShare }

  /// `threads waited 31% of the time for their cores, in 7 of 12 samples`.
  var text: String {
    "threads waited \(SignificantDigits.three(100 * (share ?? 0)))% of the time for their cores, "
      + "in \(disturbed) of \(samples) samples"
  }
}
