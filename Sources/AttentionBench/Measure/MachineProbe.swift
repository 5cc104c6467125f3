import MachineTopology

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
  /// Seconds of processor time this process has used, all threads together.
  func processorSeconds() -> Double
  /// What others have done to this process so far.
  func interference() -> Interference
}

/// Running totals of what disturbs a measurement.
public struct Interference: Equatable, Sendable {
  /// Times that a thread of this process was taken off its CPU.
  public var involuntarySwitches: Int
  /// Ticks of the CPUs in use, idle ones included; nil where the system does not say.
  public var ticks: Int?
  /// Those of them that the hypervisor gave to others.
  public var stolenTicks: Int?

  /// Totals as given.
  public init(involuntarySwitches: Int = 0, ticks: Int? = nil, stolenTicks: Int? = nil) {
    self.involuntarySwitches = involuntarySwitches
    self.ticks = ticks
    self.stolenTicks = stolenTicks
  }
}

/// Reads this machine.
public final class HostProbe: MachineProbe {
  private let cpus: CPUSet

  /// A probe that counts stolen time on the given CPUs.
  public init(cpus: CPUSet) { self.cpus = cpus }

  public func availableBytes() -> Int? { MachineMemory.current()?.availableBytes }
  public func residentBytes() -> Int? { ProcessMemory.current()?.residentBytes }
  public func peakResidentBytes() -> Int? { ProcessMemory.current()?.peakResidentBytes }
  public func restartPeak() -> Bool { ProcessMemory.resetPeak() }

  public func processorSeconds() -> Double {
    ProcessActivity.current().cpuTime / .seconds(1)
  }

  public func interference() -> Interference {
    let load = MachineLoad.current(cpus: cpus)
    return Interference(
      involuntarySwitches: load.process.involuntarySwitches, ticks: load.cpuTicks?.total,
      stolenTicks: load.cpuTicks?.steal)
  }
}
