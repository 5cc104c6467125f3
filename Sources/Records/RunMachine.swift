import Attention
import Statistics
import Units

extension RunMetadata {
  /// The machine that a run was taken on.
  public struct Machine: Codable, Equatable, Sendable {
    /// Its name on the network.
    public var hostname: String
    /// The system and its version.
    public var system: String
    /// The processor's name.
    public var cpuModel: String
    /// Cores that the run may use.
    public var cores: Int
    /// Hardware threads that the run may use.
    public var hardwareThreads: Int
    /// The caches, nearest first.
    public var caches: [Cache]
    /// One line of packages, NUMA nodes and cores.
    public var topologySummary: String
    /// Memory installed.
    public var memoryTotalBytes: Int
    /// Memory available when the run began.
    public var memoryAvailableBytes: Int
    /// The memory limit of the control group; nil without one.
    public var cgroupMemoryBytes: Int?
    /// The processor limit of the control group in cores; nil without one.
    public var cgroupCPUs: Double?
    /// The frequency governor, where it can be read.
    public var governor: String?

    public init(
      hostname: String, system: String, cpuModel: String, cores: Int, hardwareThreads: Int,
      caches: [Cache], topologySummary: String, memoryTotalBytes: Int, memoryAvailableBytes: Int,
      cgroupMemoryBytes: Int?, cgroupCPUs: Double?, governor: String?
    ) {
      self.hostname = hostname
      self.system = system
      self.cpuModel = cpuModel
      self.cores = cores
      self.hardwareThreads = hardwareThreads
      self.caches = caches
      self.topologySummary = topologySummary
      self.memoryTotalBytes = memoryTotalBytes
      self.memoryAvailableBytes = memoryAvailableBytes
      self.cgroupMemoryBytes = cgroupMemoryBytes
      self.cgroupCPUs = cgroupCPUs
      self.governor = governor
    }

    private enum CodingKeys: String, CodingKey {
      case hostname
      case system
      case cpuModel = "cpu_model"
      case cores
      case hardwareThreads = "hardware_threads"
      case caches
      case topologySummary = "topology_summary"
      case memoryTotalBytes = "memory_total_bytes"
      case memoryAvailableBytes = "memory_available_bytes"
      case cgroupMemoryBytes = "cgroup_memory_bytes"
      case cgroupCPUs = "cgroup_cpus"
      case governor
    }
  }

  /// One level of cache.
  public struct Cache: Codable, Equatable, Sendable {
    /// The level, such as `L1d`.
    public var level: String
    public var bytes: Int
    /// How many cores share one.
    public var sharedByCores: Int

    public init(level: String, bytes: Int, sharedByCores: Int) {
      self.level = level
      self.bytes = bytes
      self.sharedByCores = sharedByCores
    }

    private enum CodingKeys: String, CodingKey {
      case level
      case bytes
      case sharedByCores = "shared_by_cores"
    }
  }
}
