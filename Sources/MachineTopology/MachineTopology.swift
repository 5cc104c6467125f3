/// The machine as hwloc sees it, and the part of it that this process may use.
///
/// A value: it is read once and does not follow later changes. It keeps the loaded hwloc topology
/// alive, through which workers bind themselves.
public struct MachineTopology: Sendable {
  /// A processor package (socket).
  public struct Package: Hashable, Sendable {
    /// Machine-wide number, from 0.
    public let index: Int
    /// What the processor calls itself, e.g. `AMD EPYC`; nil where the system does not say.
    public let model: String?
    /// Its PUs.
    public let cpuSet: CPUSet
  }

  public struct Core: Hashable, Sendable {
    /// Machine-wide number, from 0; the number that `core:` bindings use.
    public let index: Int
    /// Its PUs: more than one with SMT.
    public let cpuSet: CPUSet
  }

  /// A NUMA node. Its memory size is left out: hwloc's figure is the one of boot time, which is
  /// wrong on machines whose memory grows. See ``MachineMemory``.
  public struct NUMANode: Hashable, Sendable {
    /// The operating system's number; the one that `numa:` bindings use.
    public let index: Int
    /// The PUs that are near it.
    public let cpuSet: CPUSet
  }

  /// One cache that holds data (instruction caches are left out).
  public struct Cache: Hashable, Sendable {
    /// 1 is nearest to the core.
    public let level: Int
    public let byteCount: Int
    /// Bytes a line; nil where the system does not say.
    public let lineByteCount: Int?
    /// The PUs that share it.
    public let cpuSet: CPUSet
    /// How many PUs share it.
    public var sharingPUCount: Int { cpuSet.count }
  }

  /// Every package, in logical order; empty where the system does not say.
  public let packages: [Package]
  /// Every core, in logical order, allowed or not; `cores[i].index == i`.
  public let cores: [Core]
  /// Every NUMA node that has PUs, in logical order.
  public let numaNodes: [NUMANode]
  /// Every data or unified cache, from level 1 up, in logical order within a level.
  public let caches: [Cache]
  /// Every PU of the machine that is online, allowed or not.
  public let processingUnits: CPUSet
  /// The PUs that this process may use: what hwloc reports as allowed (cgroup cpuset), less what
  /// the affinity mask of the thread that loaded the topology forbids (`taskset`).
  public let allowed: CPUSet

  let hwloc: HwlocTopology
}

extension MachineTopology {
  /// Whether some core has more than one PU.
  public var hasSMT: Bool { cores.contains { $0.cpuSet.count > 1 } }

  /// The model of the first package, e.g. `AMD EPYC`; nil where the system does not say.
  public var cpuModel: String? { packages.lazy.compactMap(\.model).first }

  /// Cores of which at least one PU is allowed, ascending. Their number is the natural number of
  /// workers for compute-bound work.
  public var allowedCores: [Core] {
    cores.filter { !$0.cpuSet.intersection(allowed).isEmpty }
  }

  /// The numbers by which a binding can name what is allowed.
  public var allowedPlaces: AllowedPlaces {
    AllowedPlaces(
      cores: allowedCores.map(\.index), processingUnits: allowed,
      numaNodes: numaNodes.filter { !$0.cpuSet.intersection(allowed).isEmpty }
        .map(\.index).sorted())
  }

  /// The smallest data cache of a level among those that allowed PUs use: block sizes that fit it
  /// fit on every core of a hybrid processor. Nil if there is no such level.
  public func dataCache(level: Int) -> Cache? {
    caches.filter { $0.level == level && !$0.cpuSet.intersection(allowed).isEmpty }
      .min { $0.byteCount < $1.byteCount }
  }
}
