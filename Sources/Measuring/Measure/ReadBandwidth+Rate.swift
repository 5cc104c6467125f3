import Attention
import MachineTopology
import Records
import Statistics
import Units

extension ReadBandwidth {
  /// Bytes that the last-level caches of a machine's allowed cores hold together.
  public static func cacheByteCount(of topology: MachineTopology) -> Int {
    let caches = topology.caches.filter { !$0.cpuSet.intersection(topology.allowed).isEmpty }
    let lastLevel = caches.map(\.level).max() ?? 0
    return caches.filter { $0.level == lastLevel }.reduce(0) { $0 + $1.byteCount }
  }

  /// A buffer whose reading the caches can speed up by little: sixteen times what they hold. Of four
  /// times as much they keep enough from one reading to the next to make it up to 14% too fast.
  ///
  /// - Parameters:
  ///   - cacheByteCount: what the last-level caches hold; 0 where that is not known.
  ///   - availableBytes: memory that is free; at most a sixteenth of it is asked for, where that
  ///     leaves four times the caches.
  public static func byteCount(beyondCachesOf cacheByteCount: Int, availableBytes: Int?) -> Int {
    let caches = max(cacheByteCount, 16 << 20)
    return max(min(16 * caches, (availableBytes ?? .max) / 16), 4 * caches)
  }

  /// A buffer for a machine as it is now.
  public convenience init(
    beyondCachesOf topology: MachineTopology, writtenBy team: WorkerTeam
  ) throws(AttentionError) {
    try self.init(
      byteCount: ReadBandwidth.byteCount(
        beyondCachesOf: ReadBandwidth.cacheByteCount(of: topology),
        availableBytes: MachineMemory.current()?.availableBytes), writtenBy: team)
  }

  /// The median of three readings, in bytes a second.
  public func rate(on team: WorkerTeam) -> Double {
    (0..<3).map { _ in reading(on: team) }.sorted()[1]
  }
}
