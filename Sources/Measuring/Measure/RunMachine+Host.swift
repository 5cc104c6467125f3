import Foundation
import MachineTopology
import Records
import Statistics
import Units

extension RunMetadata.Machine {
  static func host(_ topology: MachineTopology) -> Self {
    let memory = MachineMemory.current()
    let cores = topology.allowedCores
    return Self(
      hostname: systemNames.host, system: systemNames.system,
      cpuModel: topology.cpuModel ?? "unknown", cores: cores.count,
      hardwareThreads: topology.allowed.count, caches: caches(topology),
      topologySummary: summary(topology), memoryTotalBytes: memory?.totalBytes ?? 0,
      memoryAvailableBytes: memory?.availableBytes ?? 0,
      cgroupMemoryBytes: memory?.groupLimit?.limitBytes,
      cgroupCPUs: CPUQuota.current()?.cpuCount,
      governor: FrequencyGovernor.current(cpus: topology.allowed).first)
  }

  /// The sizes and numbers of a machine in one line.
  private static func summary(_ topology: MachineTopology) -> String {
    func count(_ number: Int, _ noun: String) -> String {
      "\(number) \(noun)\(number == 1 ? "" : "s")"
    }
    return [
      count(topology.packages.count, "package"), count(topology.numaNodes.count, "NUMA node"),
      count(topology.cores.count, "core"), count(topology.processingUnits.count, "PU"),
      "allowed PUs \(topology.allowed)",
    ].joined(separator: ", ")
  }

  /// One entry a level, the smallest of each.
  private static func caches(_ topology: MachineTopology) -> [RunMetadata.Cache] {
    let levels = Set(topology.caches.map(\.level)).sorted()
    return levels.compactMap { level in
      guard let cache = topology.dataCache(level: level) else { return nil }
      let sharing = topology.cores.filter { !$0.cpuSet.intersection(cache.cpuSet).isEmpty }
      return RunMetadata.Cache(
        level: level == 1 ? "L1d" : "L\(level)", bytes: cache.byteCount,
        sharedByCores: sharing.count)
    }
  }

  /// The name on the network, and distribution and kernel.
  private static var systemNames: (host: String, system: String) {
    var names = utsname()
    uname(&names)
    func text<Bytes>(_ field: Bytes) -> String {
      withUnsafeBytes(of: field) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
    }
    let kernel = "\(text(names.sysname)) \(text(names.release)) \(text(names.machine))"
    let release = try? String(contentsOfFile: "/etc/os-release", encoding: .utf8)
    let pretty = release?.split(separator: "\n").first { $0.hasPrefix("PRETTY_NAME=") }?
      .dropFirst("PRETTY_NAME=".count).filter { $0 != "\"" }
    return (text(names.nodename), pretty.map { "\($0), \(kernel)" } ?? kernel)
  }
}
