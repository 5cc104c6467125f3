import MachineTopology
import Records
import Statistics
import Units

/// What a sweep reads off the machine beside the time.
public protocol MachineProbe: AnyObject {
  /// Bytes this process could still get; nil where the system does not say.
  func availableBytes() -> Int?
  /// Bytes this process holds now; nil where the system does not say.
  func residentBytes() -> Int?
  /// The most bytes it held since `restartPeak`; nil where the system does not say.
  func peakResidentBytes() -> Int?
  /// Lets the peak start again from what is held now; false where the system refuses.
  func restartPeak() -> Bool
  /// Seconds of processor time this process has used, all threads together, to the moment.
  func processorSeconds() -> Double
  /// What others have done to this process so far.
  func interference() -> Interference
  /// How many CPUs the workers may use; nil where the system does not say.
  var cpuCount: Int? { get }
  /// The frequencies of these CPUs just now, in Hz; none where the system does not say.
  func clockFrequencies() -> [Double]
}

extension MachineProbe {
  /// A number of CPUs that no team exceeds.
  public var cpuCount: Int? { nil }
  /// Nothing.
  public func clockFrequencies() -> [Double] { [] }
}

/// Running totals of what disturbs a measurement.
public struct Interference: Equatable, Sendable {
  /// Times that a thread of this process was taken off its CPU.
  public var involuntarySwitches: Int
  /// Ticks of the CPUs in use, idle ones included; nil where the system does not say.
  public var ticks: Int?
  /// Those of them that the hypervisor gave to others.
  public var stolenTicks: Int?
  /// Those of them in which a CPU ran something, of this process or another.
  public var busyTicks: Int?
  /// Seconds of processor time this process has used.
  public var ownSeconds: Double
  /// Seconds that threads of this process were ready and waited for a CPU, all together; nil where
  /// the system does not say.
  public var waitedSeconds: Double?

  /// Ticks in a second of one CPU.
  static let ticksPerSecond = CPUTicks.rate

  /// Totals as given.
  public init(
    involuntarySwitches: Int = 0, ticks: Int? = nil, stolenTicks: Int? = nil,
    busyTicks: Int? = nil, ownSeconds: Double = 0, waitedSeconds: Double? = nil
  ) {
    self.involuntarySwitches = involuntarySwitches
    self.ticks = ticks
    self.stolenTicks = stolenTicks
    self.busyTicks = busyTicks
    self.ownSeconds = ownSeconds
    self.waitedSeconds = waitedSeconds
  }
}

/// Reads this machine.
public final class HostProbe: MachineProbe {
  private let cpus: CPUSet
  private var threads = ProcessThreads.current()

  /// A probe that watches the given CPUs: those that workers run on.
  public init(cpus: CPUSet) { self.cpus = cpus }

  /// The least of what the machine and its cgroups leave.
  public func availableBytes() -> Int? { MachineMemory.current()?.availableBytes }
  /// `VmRSS`.
  public func residentBytes() -> Int? { ProcessMemory.current()?.residentBytes }
  /// `VmHWM`.
  public func peakResidentBytes() -> Int? { ProcessMemory.current()?.peakResidentBytes }
  /// Through `/proc/self/clear_refs`, which containers may mount read-only.
  public func restartPeak() -> Bool { ProcessMemory.resetPeak() }
  /// As given.
  public var cpuCount: Int? { cpus.count }
  /// From cpufreq or `/proc/cpuinfo`.
  public func clockFrequencies() -> [Double] { ClockFrequency.current(cpus: cpus) }

  /// The sum over the clocks of the threads that there were at the last `interference`; that of the
  /// process, which lags by up to a tick a thread, where there are none.
  public func processorSeconds() -> Double {
    (threads.processorTime() ?? ProcessActivity.current().cpuTime) / .seconds(1)
  }

  /// From `getrusage`, `/proc/stat` and `schedstat`. Brings the list of threads up to date.
  public func interference() -> Interference {
    threads = .current()
    let load = MachineLoad.current(cpus: cpus)
    return Interference(
      involuntarySwitches: load.process.involuntarySwitches, ticks: load.cpuTicks?.total,
      stolenTicks: load.cpuTicks?.steal, busyTicks: load.cpuTicks?.busy,
      ownSeconds: load.process.cpuTime / .seconds(1),
      waitedSeconds: threads.waitingTime().map { $0 / .seconds(1) })
  }
}
