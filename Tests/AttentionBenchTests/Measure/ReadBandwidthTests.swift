import Attention
import AttentionBench
import MachineTopology
import Testing

@Suite struct ReadBandwidthTests {
  /// What the caches hold, what memory is free, and the buffer, in MiB; 0 where it is not known.
  @Test(arguments: [
    (caches: 32, available: 24 << 10, buffer: 512), (32, 0, 512), (0, 0, 256),
    (32, 4 << 10, 256), (32, 1 << 10, 128), (384, 1 << 20, 16 * 384),
  ])
  func theBufferIsManyTimesTheCaches(caches: Int, available: Int, buffer: Int) {
    let bytes = ReadBandwidth.byteCount(
      beyondCachesOf: caches << 20, availableBytes: available == 0 ? nil : available << 20)
    #expect(bytes == buffer << 20)
  }

  @Test func onlyLastLevelCachesOfAllowedCoresCount() throws {
    let notation = "pack:2 l3:1(size=8MB) l2:2(size=1MB) core:1 pu:1"
    let machine = try MachineTopology(synthetic: notation)
    let half = try MachineTopology(synthetic: notation, allowed: CPUSet([0]))
    let all = ReadBandwidth.cacheByteCount(of: machine)
    #expect(all == 2 * ReadBandwidth.cacheByteCount(of: half) && all > 15_000_000)
    let none = try MachineTopology(synthetic: "core:2 pu:1")
    #expect(ReadBandwidth.cacheByteCount(of: none) == 0)
  }

  @Test(arguments: [1, 2, 3])
  func readsBuffersOfAnySize(threads: Int) throws {
    let team = try WorkerTeam(threads: threads, binding: .none)
    for byteCount in [0, 4, 4096 + 4] {
      let bandwidth = try ReadBandwidth(byteCount: byteCount, writtenBy: team)
      #expect(bandwidth.reading(on: team) > 0)
      #expect(bandwidth.rate(on: team) > 0)
    }
  }
}
