import SystemPackage

/// How much memory the machine has, and how much of it this process can still get, in bytes.
///
/// Read from the kernel's own account and from the cgroups. hwloc's figure is not used: it is the
/// one of boot time.
public struct MachineMemory: Hashable, Sendable {
  /// What a cgroup allows its members.
  public struct GroupLimit: Hashable, Sendable {
    /// The most that all members together may use, in bytes.
    public let limitBytes: Int
    /// What they use now, page cache included, in bytes.
    public let usageBytes: Int
    /// The part of the usage which the kernel gives back on demand: the file cache that is not in
    /// active use, in bytes.
    public let reclaimableBytes: Int

    /// A limit as given, in bytes.
    public init(limitBytes: Int, usageBytes: Int, reclaimableBytes: Int = 0) {
      self.limitBytes = limitBytes
      self.usageBytes = usageBytes
      self.reclaimableBytes = reclaimableBytes
    }

    /// What may still be allocated before the limit is hit, in bytes; never negative.
    public var availableBytes: Int { max(0, limitBytes - max(0, usageBytes - reclaimableBytes)) }
  }

  /// All memory of the machine (`MemTotal`).
  public let totalBytes: Int
  /// What the machine can give without swapping (`MemAvailable`).
  public let machineAvailableBytes: Int
  /// Of the cgroups that limit this process, the one that leaves least; nil without a limit.
  public let groupLimit: GroupLimit?

  /// Figures as given, in bytes: for planning against a machine other than this one.
  public init(totalBytes: Int, machineAvailableBytes: Int, groupLimit: GroupLimit? = nil) {
    self.totalBytes = totalBytes
    self.machineAvailableBytes = machineAvailableBytes
    self.groupLimit = groupLimit
  }

  /// What this process can still get: the least of what the machine and its cgroups leave.
  public var availableBytes: Int {
    min(machineAvailableBytes, groupLimit?.availableBytes ?? .max)
  }

  /// The memory this process could get if nobody else used any: the least of the machine's memory
  /// and the cgroup limit.
  public var usableTotalBytes: Int { min(totalBytes, groupLimit?.limitBytes ?? .max) }

  /// Reads the present figures.
  ///
  /// - Returns: nil where `/proc/meminfo` cannot be read, as outside Linux.
  public static func current(files: SystemFiles = .system) -> MachineMemory? {
    guard let total = files.number(after: "MemTotal:", in: "/proc/meminfo"),
      let available = files.number(after: "MemAvailable:", in: "/proc/meminfo")
    else { return nil }
    return MachineMemory(
      totalBytes: total * 1024, machineAvailableBytes: available * 1024,
      groupLimit: GroupLimit.tightest(files: files))
  }
}

extension MachineMemory.GroupLimit {
  /// The limit that leaves least, among the own cgroup and all above it.
  fileprivate static func tightest(files: SystemFiles) -> Self? {
    guard let groups = ControlGroups(files: files).directories(of: "memory") else { return nil }
    return groups.paths
      .compactMap { Self(directory: $0, version: groups.version, files: files) }
      .min { $0.availableBytes < $1.availableBytes }
  }

  private init?(directory: FilePath, version: ControlGroups.Version, files: SystemFiles) {
    let names =
      switch version {
      case .v1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
      case .v2: ("memory.max", "memory.current", "inactive_file")
      }
    // "max" is no number. Version 1 writes "no limit" as the largest multiple of the page size.
    guard let limit = files.number(in: directory.appending(names.0)), limit < Int.max / 2
    else { return nil }
    self.init(
      limitBytes: limit, usageBytes: files.number(in: directory.appending(names.1)) ?? 0,
      reclaimableBytes: files.number(after: names.2, in: directory.appending("memory.stat")) ?? 0)
  }
}
