import Foundation
import Records
import Statistics
import Units

/// What shows that the cores of a sweep were not its own, over one size: several accounts, because
/// each misses something. Medians may look steady all the same.
struct BusyMachine {
  /// Other processes' use of the CPUs above this is worth a warning: half of one CPU in ten.
  private static let busyShare = 0.05
  /// Likewise time that the hypervisor gave to others.
  private static let busySteal = 0.01
  /// Threads of a burst, which do nothing but arithmetic, get all of their cores but for the
  /// microseconds of being woken.
  private static let quietBurstShare = 0.95

  /// What other processes used of the CPUs; nil where the system does not say.
  var neighbours: NeighbourLoad?
  /// The waiting of all samples of the size.
  var contention = CoreContention()
  /// Involuntary context switches in all samples of the size.
  var involuntarySwitches = 0
  /// The share of their cores that the threads of the FMA bursts got; nil if unknown.
  var burstShare: Double?

  /// One sentence with the numbers and the remedy; nil for a machine that was quiet.
  func warning(n: Int) -> String? {
    var found: [String] = []
    if let neighbours, neighbours.share >= Self.busyShare {
      found.append(
        "other processes used "
          + String(format: "%.2f of %.0f CPUs", neighbours.share * neighbours.cpus, neighbours.cpus)
      )
    }
    if let neighbours, neighbours.stealShare >= Self.busySteal {
      found.append(
        "the hypervisor gave \(SignificantDigits.three(100 * neighbours.stealShare))% of the time "
          + "to others")
    }
    if contention.isBusy { found.append(contention.text) }
    if let burstShare, burstShare < Self.quietBurstShare {
      found.append(
        "FMA bursts got \(SignificantDigits.three(100 * burstShare))% of their cores")
    }
    guard !found.isEmpty else { return nil }
    if involuntarySwitches > 0 {
      found.append(
        "\(involuntarySwitches) involuntary context switch"
          + (involuntarySwitches == 1 ? "" : "es"))
    }
    return "the machine was busy while n = \(n) was measured: \(found.joined(separator: "; ")). "
      + "Medians can be too high even where they look steady; cells that had to wait are marked "
      + "noisy. Fix: end the other work, or --bind to cores that it leaves free"
  }
}

/// What other processes and the hypervisor took of our CPUs between two readings.
struct NeighbourLoad {
  /// CPU seconds below which ticks of 10 ms say too little.
  static let leastSeconds = 0.5

  /// The share of the CPUs' time that other processes used.
  let share: Double
  /// The share that the hypervisor gave to others.
  let stealShare: Double
  /// How many CPUs there were, by their ticks.
  let cpus: Double

  /// The load between two readings, `seconds` apart.
  ///
  /// - Returns: nil where the system does not say, or the time was too short.
  init?(from before: Interference, to after: Interference, seconds: Double) {
    guard let a = before.ticks, let b = after.ticks, let busyBefore = before.busyTicks,
      let busyAfter = after.busyTicks, seconds > 0
    else { return nil }
    let offered = Double(b - a) / Interference.ticksPerSecond
    guard offered >= Self.leastSeconds else { return nil }
    let busy = Double(busyAfter - busyBefore) / Interference.ticksPerSecond
    let own = after.ownSeconds - before.ownSeconds
    share = max(0, busy - own) / offered
    let stolen = Double(max(0, (after.stolenTicks ?? 0) - (before.stolenTicks ?? 0)))
    stealShare = stolen / Interference.ticksPerSecond / offered
    cpus = (offered / seconds).rounded()
  }
}
