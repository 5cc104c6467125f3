import Attention
import Testing

import DistributedAttention

@Suite struct TrafficTests {
  @Test func formulas() throws {
    let shape = try AttentionShape(
      batch: 2, heads: 8, kvHeads: 4, queryLength: 1000, headDim: 16, valueDim: 24)
    let rows = try ShardLayout(length: 1000, ranks: 4, order: .contiguous)
    #expect(
      Traffic.keysToAll(shape, keys: rows).bytes
        == Array(repeating: 3 * 4 * 2 * 4 * 250 * 40, count: 4))
    let deal = try HeadDeal(shape, ranks: 4)
    let there = 250 * 6 * 16 + 250 * 3 * 40
    let back = 750 * 2 * 25
    #expect(
      Traffic.headsForRows(shape, deal: deal, queries: rows, keys: rows).bytes
        == Array(repeating: 4 * 2 * (there + back), count: 4))
    #expect(
      Traffic.states(shape, stateRows: 16, ranks: 3).bytes
        == [4 * 2 * 4 * 16 * 24, 4 * 2 * 4 * 16 * 24, 0])
  }

  @Test func aWindowsHaloIsItsReach() throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 2, queryLength: 4000, headDim: 8),
      visibility: Visibility(causal: true))
    let rows = try ShardLayout(length: 4000, ranks: 4, order: .contiguous)
    let window = try StrategyRegistry.standard.strategy("window(129)")
    let halo = try Halo(window, problem, queries: rows, keys: rows)
    #expect((0..<4).map(halo.rowsSent) == [128, 128, 128, 0])
    let flash = try StrategyRegistry.standard.strategy("flash")
    #expect {
      try Halo(flash, problem, queries: rows, keys: rows)
    } throws: { "\($0)".contains("scheme = halo: the queries of flash") }
  }
}
