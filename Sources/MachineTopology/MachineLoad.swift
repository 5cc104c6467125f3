import Glibc

/// A snapshot of what disturbs a measurement: others' load, time stolen by the hypervisor, context
/// switches. Take one before and one after, and subtract.
public struct MachineLoad: Hashable, Sendable {
  /// The mean number of runnable or blocked tasks over the last 1, 5 and 15 minutes.
  public struct Averages: Hashable, Sendable {
    /// Over 1 minute.
    public let oneMinute: Double
    /// Over 5 minutes.
    public let fiveMinutes: Double
    /// Over 15 minutes.
    public let fifteenMinutes: Double
  }

  /// Nil where `/proc/loadavg` cannot be read.
  public let averages: Averages?
  /// What the CPUs have done since boot; nil where `/proc/stat` cannot be read.
  public let cpuTicks: CPUTicks?
  /// What this process has done since it started.
  public let process: ProcessActivity

  /// Reads the present figures.
  ///
  /// - Parameter cpus: the CPUs whose ticks count; nil for all of the machine.
  public static func current(
    cpus: CPUSet? = nil, files: SystemFiles = .system
  ) -> MachineLoad {
    MachineLoad(
      averages: Averages(files: files), cpuTicks: CPUTicks(cpus: cpus, files: files),
      process: .current())
  }

  /// What happened between two snapshots.
  public struct Change: Hashable, Sendable {
    /// The share of CPU time, 0...1, that the hypervisor gave to others while these CPUs wanted to
    /// run. Nil where unknown, or where the snapshots are less than one tick (10 ms) apart.
    public let stealFraction: Double?
    /// What this process did.
    public let process: ProcessActivity

    /// A change as given.
    public init(stealFraction: Double?, process: ProcessActivity) {
      self.stealFraction = stealFraction
      self.process = process
    }
  }

  /// The change from the right snapshot to the left, later one.
  public static func - (later: MachineLoad, earlier: MachineLoad) -> Change {
    var steal: Double?
    if let after = later.cpuTicks, let before = earlier.cpuTicks, after.total > before.total {
      // The kernel may correct its counters downwards by a little.
      steal = Double(max(0, after.steal - before.steal)) / Double(after.total - before.total)
    }
    return Change(stealFraction: steal, process: later.process - earlier.process)
  }
}

/// CPU time in ticks (10 ms on all usual kernels), summed over CPUs.
public struct CPUTicks: Hashable, Sendable {
  /// All time, idle included.
  public let total: Int
  /// Time in which a CPU wanted to run and the hypervisor ran something else.
  public let steal: Int
  /// Time in which a CPU ran something, interrupts included.
  public let busy: Int

  /// Ticks a second: Linux shows these figures in hundredths on every machine (`USER_HZ`).
  public static let rate = 100.0

  init?(cpus: CPUSet?, files: SystemFiles) {
    guard let lines = files.text(of: "/proc/stat")?.split(separator: "\n") else { return nil }
    var (total, steal, idle, found) = (0, 0, 0, false)
    for line in lines where line.hasPrefix("cpu") {
      let fields = line.split(separator: " ")
      let isCounted =
        if let cpus { Int(fields[0].dropFirst(3)).map(cpus.contains) ?? false } else {
          fields[0] == "cpu"
        }
      // user nice system idle iowait irq softirq steal; the guest times behind them are in user
      // and nice already.
      let ticks = fields.dropFirst().prefix(8).compactMap { Int($0) }
      guard isCounted, ticks.count == 8 else { continue }
      found = true
      total += ticks.reduce(0, +)
      steal += ticks[7]
      idle += ticks[3] + ticks[4]
    }
    guard found else { return nil }
    (self.total, self.steal, busy) = (total, steal, total - idle - steal)
  }
}

/// CPU time and context switches of this process, all threads together.
public struct ProcessActivity: Hashable, Sendable {
  /// CPU time, user and system. Workers of a team that wait spin for a while, which counts.
  public let cpuTime: Duration
  /// Times that a thread gave up its CPU to wait.
  public let voluntarySwitches: Int
  /// Times that a thread was taken off its CPU for another.
  public let involuntarySwitches: Int

  /// Activity as given.
  public init(cpuTime: Duration, voluntarySwitches: Int, involuntarySwitches: Int) {
    self.cpuTime = cpuTime
    self.voluntarySwitches = voluntarySwitches
    self.involuntarySwitches = involuntarySwitches
  }

  /// Totals since the process started.
  public static func current() -> ProcessActivity {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return ProcessActivity(
      cpuTime: .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec),
      voluntarySwitches: usage.ru_nvcsw, involuntarySwitches: usage.ru_nivcsw)
  }

  /// The change from the right snapshot to the left, later one.
  public static func - (later: ProcessActivity, earlier: ProcessActivity) -> ProcessActivity {
    ProcessActivity(
      cpuTime: later.cpuTime - earlier.cpuTime,
      voluntarySwitches: later.voluntarySwitches - earlier.voluntarySwitches,
      involuntarySwitches: later.involuntarySwitches - earlier.involuntarySwitches)
  }
}

extension MachineLoad.Averages {
  init?(files: SystemFiles) {
    let numbers = (files.words(of: "/proc/loadavg") ?? []).prefix(3).compactMap { Double($0) }
    guard numbers.count == 3 else { return nil }
    self.init(oneMinute: numbers[0], fiveMinutes: numbers[1], fifteenMinutes: numbers[2])
  }
}
