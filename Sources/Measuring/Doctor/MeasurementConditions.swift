import Attention
import Foundation
import MachineTopology
import Records
import Statistics
import Units

/// What can spoil a measurement on a machine, as facts.
public struct MeasurementConditions: Sendable, Hashable {
  /// The processor whose kernels OpenBLAS runs.
  public var blasCore = ""
  /// Environment settings that are in force although they make OpenBLAS slower, as `NAME=value`.
  public var blasForced: [String] = []
  /// Such settings that were exported and have been taken out of this process.
  public var blasIgnored: [String] = []
  /// Whether the user keeps OpenBLAS slower than it has to be.
  public var blasIsKeptSlow = false
  /// What became of OpenBLAS's environment, in a few words; nil when nothing did.
  public var blasSummary: String?
  /// Threads inside one OpenBLAS call, after it was asked for one.
  public var blasThreads = 1
  /// Its speed beside the processor's; nil where it was not measured.
  public var blasSpeed: BLASSpeed?
  /// The instruction set in use.
  public var isa = ""
  /// The best one that the processor runs.
  public var bestISA = ""
  /// Cores that this process may use.
  public var allowedCores = 1
  /// Hardware threads that this process may use.
  public var allowedPUs = 1
  /// CPUs that the control group grants; nil without a quota.
  public var cpuQuota: Double?
  /// Tasks that wanted to run in the last minute; nil where unknown.
  public var loadAverage: Double?
  /// The share of time, 0 to 1, that the hypervisor gave to others; nil where unknown.
  public var stealFraction: Double?
  /// The frequency governors of the allowed CPUs; empty where the system does not say.
  public var governors: [String] = []

  /// Conditions that spoil nothing.
  public init() {}

  /// The conditions of this machine now.
  ///
  /// - Parameters:
  ///   - blas: what became of OpenBLAS's environment.
  ///   - blasSpeed: what was measured with it.
  ///   - steal: the share of stolen time over some interval.
  public init(
    topology: MachineTopology, blas: BLASEnvironment, blasSpeed: BLASSpeed?, steal: Double?
  ) {
    BLASLibrary.useOneThread()
    blasCore = blas.core
    blasIsKeptSlow = blas.keepsLesser
    blasForced = blas.forced
    blasIgnored = blas.removed
    blasSummary = blas.summary
    self.blasSpeed = blasSpeed
    blasThreads = BLASLibrary.threads
    isa = KernelTable.active.name
    bestISA = KernelTable.supported.first?.name ?? isa
    allowedCores = topology.allowedCores.count
    allowedPUs = topology.allowed.count
    cpuQuota = CPUQuota.current()?.cpuCount
    loadAverage = MachineLoad.current().averages?.oneMinute
    stealFraction = steal
    governors = FrequencyGovernor.current(cpus: topology.allowed)
  }
}

/// Something that spoils a measurement.
public struct MeasurementWarning: Sendable, Hashable, CustomStringConvertible {
  /// What was found.
  public let finding: String
  /// What it does to a measurement.
  public let effect: String
  /// What to do.
  public let fix: String

  /// One line of the three.
  public var description: String { "\(finding): \(effect). Fix: \(fix)" }
}

extension MeasurementConditions {
  /// Half a task beside one's own is noise that intervals of 2% do not survive.
  private static let busyLoad = 0.5
  /// Likewise one percent of stolen time.
  private static let busySteal = 0.01

  /// Everything that would spoil a measurement, gravest first.
  public var warnings: [MeasurementWarning] {
    [
      forcedBLAS, ignoredBLAS,
      blasSpeed.flatMap { Self.slowBLAS($0, isKept: blasIsKeptSlow) }, quota, steal, load,
      forcedISA, governor, threadsOfBLAS, hardwareThreads,
    ].compactMap { $0 }
  }

  private var forcedBLAS: MeasurementWarning? {
    guard !blasForced.isEmpty else { return nil }
    return MeasurementWarning(
      finding: "the environment forces OpenBLAS to its \(blasCore) kernels "
        + "(\(blasForced.joined(separator: ", ")))",
      effect: "full may run at half its speed, and every speed-up over it looks larger than it is",
      fix: "unset \(Self.names(blasForced)), or leave out --keep-blas-env")
  }

  private var ignoredBLAS: MeasurementWarning? {
    guard !blasIgnored.isEmpty else { return nil }
    return MeasurementWarning(
      finding: "the environment exports \(blasIgnored.joined(separator: ", "))",
      effect: "attnbench ignores that, but other programs that you compare with may run lesser "
        + "kernels",
      fix: "unset \(Self.names(blasIgnored))")
  }

  /// What a share of the peak says that no library reaches which knows its processor.
  ///
  /// - Parameter isKept: whether the user keeps what makes it slow.
  public static func slowBLAS(_ speed: BLASSpeed, isKept: Bool = false) -> MeasurementWarning? {
    guard !speed.isPlausible else { return nil }
    return MeasurementWarning(
      finding: "OpenBLAS reaches \(number(100 * speed.share))% of the FMA peak with its "
        + "\(speed.core) kernels (\(SignificantDigits.three(speed.gflopPerSecond)) of "
        + "\(SignificantDigits.three(speed.peakGflopPerSecond)) GFLOP/s a thread)",
      effect: "full is slower than it should be, and every speed-up over it looks larger than "
        + "it is",
      fix: isKept
        ? "leave out \(BLASEnvironment.keepFlag)"
        : "measure again when the machine is quiet; if it stays so, install a newer OpenBLAS")
  }

  private var quota: MeasurementWarning? {
    guard let cpuQuota, cpuQuota < Double(allowedPUs) else { return nil }
    let number = Self.number(cpuQuota)
    let workers = max(1, Int(cpuQuota))
    return MeasurementWarning(
      finding: "the control group grants \(number) CPUs and \(allowedPUs) may be used",
      effect: "busier workers are stopped for the rest of each period, in the middle of a sample",
      fix: "--threads \(workers), or lift the quota (docker --cpus, systemd CPUQuota)")
  }

  private var steal: MeasurementWarning? {
    guard let stealFraction, stealFraction >= Self.busySteal else { return nil }
    return MeasurementWarning(
      finding: "the hypervisor gives \(Self.number(100 * stealFraction))% of the time to others",
      effect: "times grow and scatter; see steal_pct in results.csv",
      fix: "measure when the host is quiet, or with more --min-samples")
  }

  private var load: MeasurementWarning? {
    guard let loadAverage, loadAverage >= Self.busyLoad else { return nil }
    return MeasurementWarning(
      finding: "load average \(Self.number(loadAverage)) on \(Self.cores(allowedCores))",
      effect: "other work takes turns with the workers; medians grow and intervals widen",
      fix: "wait for it to end, or --bind to cores that it leaves free")
  }

  private var forcedISA: MeasurementWarning? {
    guard isa != bestISA else { return nil }
    return MeasurementWarning(
      finding: "\(KernelTable.environmentVariable)=\(isa) is set and the processor runs \(bestISA)",
      effect: "every strategy but full runs slower than it could",
      fix: "unset \(KernelTable.environmentVariable)")
  }

  private var governor: MeasurementWarning? {
    let others = governors.filter { $0 != "performance" }
    guard !others.isEmpty else { return nil }
    return MeasurementWarning(
      finding: "the frequency governor is \(others.joined(separator: ", "))",
      effect: "clocks change while samples are taken, and short ones end before they rise",
      fix: "cpupower frequency-set -g performance")
  }

  private var threadsOfBLAS: MeasurementWarning? {
    guard blasThreads > 1 else { return nil }
    return MeasurementWarning(
      finding: "OpenBLAS keeps \(blasThreads) threads a call although 1 was asked for",
      effect: "full has more threads than --threads says, and its calls disturb each other",
      fix: "OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 attnbench ...")
  }

  private var hardwareThreads: MeasurementWarning? {
    guard allowedPUs > allowedCores else { return nil }
    return MeasurementWarning(
      finding: "\(Self.cores(allowedCores)) have \(allowedPUs) hardware threads",
      effect: "two workers on one core share its arithmetic units and reach half the speed each",
      fix: "at most --threads \(allowedCores), bound to cores")
  }

  private static func names(_ settings: [String]) -> String {
    settings.map { String($0.prefix { $0 != "=" }) }.joined(separator: " ")
  }

  private static func cores(_ count: Int) -> String { count == 1 ? "1 core" : "\(count) cores" }

  private static func number(_ value: Double) -> String {
    value == value.rounded() ? "\(Int(value))" : String(format: "%.1f", value)
  }
}
