import AttentionBench
import MachineTopology
import Testing

@Suite struct CacheCapacitiesTests {
  /// Two cores with 1 MiB each of L2, and 32 MiB of L3 for both.
  private static let small = CacheCapacities([
    .init(number: 1, byteCount: 32 << 10, count: 2, cores: 1),
    .init(number: 2, byteCount: 1 << 20, count: 2, cores: 1),
    .init(number: 3, byteCount: 32 << 20, count: 1, cores: 2),
  ])

  /// KiB, workers and the level; 0 is memory.
  private static let cases: [(kibibytes: Int, workers: Int, level: Int)] = [
    (60, 2, 1), (60, 1, 2), (2048, 2, 2), (2048, 1, 3), (3072, 2, 3), (32_768, 1, 3),
    (33_000, 2, 0), (33_000, 9, 0),
  ]

  @Test(arguments: cases)
  func aWorkingSetIsSharedOutAmongTheCachesOfTheWorkers(
    kibibytes: Int, workers: Int, level: Int
  ) {
    let found = Self.small.level(holding: kibibytes << 10, workers: workers)
    #expect((found ?? 0) == level)
  }

  @Test func theNameFollowsTheRateWhereTheSystemIsWrong() {
    func name(_ bytes: Int, _ rate: Double, memory: Double? = 10) -> String {
      Self.small.name(of: bytes, workers: 2, rate: rate, memoryRate: memory)
    }
    #expect(name(1 << 20, 80) == "L2")
    #expect(name(20 << 20, 40) == "L3")
    // The machine has less of the last level for us than it says, or more.
    #expect(name(20 << 20, 9.5) == "mem")
    #expect(name(64 << 20, 17) == "L3")
    #expect(name(64 << 20, 10.4) == "mem")
    #expect(name(64 << 20, 17, memory: nil) == "mem")
    #expect(
      CacheCapacities([]).name(of: 1, workers: 1, rate: 20, memoryRate: 10) == "cache")
  }

  @Test func cachesAreThoseOfTheAllowedCores() throws {
    let notation = "pack:2 l3:1(size=8MB) l2:2(size=1MB) core:1 pu:1"
    let all = CacheCapacities(of: try MachineTopology(synthetic: notation))
    #expect(all.levels.map(\.number) == [2, 3] && all.levels.map(\.count) == [4, 2])
    #expect(all.levels.map(\.cores) == [1, 2])
    let half = CacheCapacities(
      of: try MachineTopology(synthetic: notation, allowed: CPUSet([0])))
    #expect(half.levels.map(\.count) == [1, 1] && half.levels.map(\.cores) == [1, 1])
  }
}
