import AttentionBench
import Testing

@Suite struct RooflineBoundTests {
  private static func ceiling(
    n: Int = 1000, threads: Int = 2, bind: String = "core:0-1", read: Double?
  ) -> MachineCeiling {
    MachineCeiling(
      n: n, threads: threads, bind: bind, fmaGflopPerSecond: 500, fmaGflopRange: [490, 510],
      readGBPerSecond: read)
  }

  /// 71.5% of the peak, and 4.096 MB in a quarter of a second.
  private static let row = ResultRow.measured()

  @Test func theLongerTimeBounds() {
    let arithmetic = RooflineBound(Self.row, ceilings: [Self.ceiling(read: 40)])
    #expect(arithmetic?.ceiling == .products(.float32))
    #expect(arithmetic?.description == "fma 72%")
    let memory = RooflineBound(Self.row, ceilings: [Self.ceiling(read: 0.02)])
    #expect(memory?.ceiling == .reading(level: "mem"))
    #expect(memory?.description == "mem 82%")
  }

  @Test func theBoundSaysWhosePeakItIs() {
    var products = Self.row
    products.arithmetic = .bfloat16
    let bound = RooflineBound(products, ceilings: [Self.ceiling(read: 40)])
    #expect(bound?.description == "bf16 72%")
    var stored = Self.row
    stored.strategy.parameters = "kv: bf16"
    #expect(RooflineBound(stored, ceilings: [])?.description == "fma 72%")
  }

  @Test func theBandwidthIsTheMedianOfThePlacement() {
    let ceilings = [
      Self.ceiling(read: 0.02), Self.ceiling(n: 2000, read: 0.02), Self.ceiling(n: 4000, read: 90),
      Self.ceiling(threads: 1, read: 1e-4), Self.ceiling(bind: "none", read: 1e-4),
    ]
    #expect(RooflineBound(Self.row, ceilings: ceilings)?.description == "mem 82%")
  }

  @Test func theBandwidthIsThatOfTheSizeWhereItWasReadBetweenTheRounds() {
    var own = Self.ceiling(n: Self.row.n, read: 0.02)
    own.readGBRange = [0.01, 0.03]
    let others = [Self.ceiling(n: 2000, read: 90), Self.ceiling(n: 4000, read: 90)]
    #expect(RooflineBound(Self.row, ceilings: others + [own])?.description == "mem 82%")
    own.n = 8000
    #expect(RooflineBound(Self.row, ceilings: others + [own])?.description == "fma 72%")
  }

  @Test func whatWasNotMeasuredBoundsNothing() {
    #expect(RooflineBound(Self.row, ceilings: [])?.description == "fma 72%")
    #expect(
      RooflineBound(Self.row, ceilings: [Self.ceiling(read: nil)])?.description == "fma 72%")
    var row = Self.row
    row.work.percentOfPeak = nil
    #expect(RooflineBound(row, ceilings: []) == nil)
    #expect(
      RooflineBound(row, ceilings: [Self.ceiling(read: 0.02)])?.ceiling == .reading(level: "mem"))
    #expect(RooflineBound(.measured(status: .error), ceilings: [Self.ceiling(read: 1)]) == nil)
  }

  /// 4.096 MB in a quarter of a second.
  @Test func bytesASecondAreHeldAgainstTheBandwidth() throws {
    let rate = try #require(Self.row.gigabytesPerSecond)
    #expect(abs(rate - 0.016384) < 1e-12)
    let share = try #require(Self.row.readShare(ceilings: [Self.ceiling(read: 0.032768)]))
    #expect(abs(share - 0.5) < 1e-12)
    #expect(Self.row.readShare(ceilings: [Self.ceiling(threads: 1, read: 1)]) == nil)
    #expect(ResultRow.measured(status: .skippedTime).gigabytesPerSecond == nil)
  }

  /// Files of earlier versions know the rate of memory only.
  @Test func whatPassesMemoryIsNotHeldAgainstIt() throws {
    let ceilings = [Self.ceiling(read: 0.01)]
    #expect(Self.row.readShare(ceilings: ceilings) == nil)
    #expect(RooflineBound(Self.row, ceilings: ceilings)?.description == "fma 72%")
    let noise = try #require(Self.row.readShare(ceilings: [Self.ceiling(read: 0.016)]))
    #expect(noise > 1 && noise < 1.1)
  }

  @Test func aCellIsHeldAgainstTheLevelOfItsOwnData() {
    var own = Self.ceiling(n: Self.row.n, read: 0.01)
    own.workingSets = [
      WorkingSetCeiling(bytes: 1, level: "L2", gbPerSecond: 1, gbRange: [1, 1]),
      WorkingSetCeiling(bytes: 4_096_000, level: "L3", gbPerSecond: 0.02, gbRange: [0.01, 0.03]),
    ]
    let bound = RooflineBound(Self.row, ceilings: [own])
    #expect(bound?.ceiling == .reading(level: "L3") && bound?.description == "L3 82%")
    // Within what the readings reached a row is at the ceiling, beyond it above.
    for (most, text) in [(0.0165, "L3 100%"), (0.0144, "L3 114%")] {
      own.workingSets?[1].gbPerSecond = 0.0142
      own.workingSets?[1].gbRange = [0.01, most]
      #expect(RooflineBound(Self.row, ceilings: [own])?.description == text)
    }
    own.workingSets?[1].bytes += 1
    #expect(RooflineBound(Self.row, ceilings: [own])?.description == "fma 72%")
  }
}
