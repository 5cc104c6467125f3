import SystemPackage

/// How much CPU time the cgroups of this process grant it. A process that exceeds its quota is
/// stopped until the period ends, which no benchmark survives.
public struct CPUQuota: Hashable, Sendable {
  /// CPU time granted in each period, in microseconds, over all CPUs.
  public let quotaMicroseconds: Int
  /// Length of a period in microseconds.
  public let periodMicroseconds: Int

  /// The quota in CPUs: 1.5 lets one and a half CPUs run all the time.
  public var cpuCount: Double { Double(quotaMicroseconds) / Double(periodMicroseconds) }

  /// The smallest quota among the own cgroup and all above it.
  ///
  /// - Returns: nil without a quota.
  public static func current(files: SystemFiles = .system) -> CPUQuota? {
    guard let groups = ControlGroups(files: files).directories(of: "cpu") else { return nil }
    return groups.paths
      .compactMap { CPUQuota(directory: $0, version: groups.version, files: files) }
      .min { $0.cpuCount < $1.cpuCount }
  }

  private init?(directory: FilePath, version: ControlGroups.Version, files: SystemFiles) {
    let numbers: [Int?]
    switch version {
    case .v1:
      numbers = ["cpu.cfs_quota_us", "cpu.cfs_period_us"].map {
        files.number(in: directory.appending($0))
      }
    case .v2:
      numbers = (files.words(of: directory.appending("cpu.max")) ?? []).map { Int($0) }
    }
    // No quota is -1 in version 1 and "max" in version 2.
    guard numbers.count == 2, let quota = numbers[0], let period = numbers[1], quota > 0, period > 0
    else { return nil }
    (quotaMicroseconds, periodMicroseconds) = (quota, period)
  }
}
