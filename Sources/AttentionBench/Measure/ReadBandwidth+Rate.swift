import Attention
import MachineTopology

extension ReadBandwidth {
  /// A buffer of which the last-level caches of a machine's allowed cores hold at most a quarter.
  public static func byteCount(beyondCachesOf topology: MachineTopology) -> Int {
    let caches = topology.caches.filter { !$0.cpuSet.intersection(topology.allowed).isEmpty }
    let lastLevel = caches.map(\.level).max() ?? 0
    let bytes = caches.filter { $0.level == lastLevel }.reduce(0) { $0 + $1.byteCount }
    return max(4 * bytes, 64 << 20)
  }

  /// The median of five passes, in bytes a second.
  public func rate(on team: WorkerTeam) -> Double {
    (0..<5).map { _ in pass(on: team) }.sorted()[2]
  }
}
