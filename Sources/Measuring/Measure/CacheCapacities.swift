import MachineTopology
import Records
import Statistics
import Units

/// What the caches of a machine hold, by their own account: for naming where a working set lies.
///
/// The account may be wrong, in a virtual machine above all, whose last level is a share of a larger
/// one. So rates are never taken from it, and the name follows the measured rate where they disagree.
public struct CacheCapacities: Equatable, Sendable {
  /// The caches of one level that the process may use.
  public struct Level: Equatable, Sendable {
    /// 1 is nearest to the core.
    public var number: Int
    /// What one of them holds.
    public var byteCount: Int
    /// How many there are.
    public var count: Int
    /// How many cores share one.
    public var cores: Int

    /// A level as given.
    public init(number: Int, byteCount: Int, count: Int, cores: Int) {
      self.number = number
      self.byteCount = byteCount
      self.count = count
      self.cores = cores
    }
  }

  /// From the first level outwards; empty where the system does not say.
  public let levels: [Level]

  /// Caches as given.
  public init(_ levels: [Level]) { self.levels = levels }

  /// Those of a machine.
  public init(of topology: MachineTopology) {
    let allowed = topology.caches.filter { !$0.cpuSet.intersection(topology.allowed).isEmpty }
    levels = Set(allowed.map(\.level)).sorted().compactMap { number in
      let caches = allowed.filter { $0.level == number }
      guard let smallest = caches.min(by: { $0.byteCount < $1.byteCount }) else { return nil }
      let cores = topology.allowedCores.count {
        !$0.cpuSet.intersection(smallest.cpuSet).isEmpty
      }
      return Level(
        number: number, byteCount: smallest.byteCount, count: caches.count, cores: max(1, cores))
    }
  }

  /// The first level whose caches, those of so many workers on a core each, hold a working set that
  /// they share out; nil for memory.
  public func level(holding bytes: Int, workers: Int) -> Int? {
    levels.first { level in
      let used = min(level.count, (workers + level.cores - 1) / level.cores)
      return bytes <= used * level.byteCount
    }?.number
  }

  /// A rate this far above that of memory says that a working set does not lie there, even if it
  /// should; one that is not above it, that it does.
  private static let cachedRatio = 1.25

  /// Where a working set lies: `L2`, `L3`, ..., or `mem`.
  ///
  /// - Parameters:
  ///   - rate: at which it was read, and `memoryRate` that of memory; in the same unit.
  public func name(of bytes: Int, workers: Int, rate: Double, memoryRate: Double?) -> String {
    let ratio = memoryRate.map { rate / $0 }
    guard let level = level(holding: bytes, workers: workers) else {
      guard let ratio, ratio > Self.cachedRatio else { return "mem" }
      return levels.last.map { "L\($0.number)" } ?? "cache"
    }
    if let ratio, ratio <= 1 { return "mem" }
    return "L\(level)"
  }
}
