import Attention
import MachineTopology
import Testing

import DistributedAttention

@Suite struct PredictionTests {
  private func model(
    _ strategy: String, n: Int, heads: Int = 8, kvHeads: Int? = nil, causal: Bool = true,
    flops: Double = 1e11, bytes: Double = 1e9
  ) throws -> PredictionModel {
    let problem = try AttentionProblem(
      AttentionShape(heads: heads, kvHeads: kvHeads, queryLength: n, headDim: 64),
      visibility: Visibility(causal: causal))
    return try PredictionModel(
      StrategyRegistry.standard.strategy(strategy), problem,
      rate: MeasuredRate(flopsPerSecond: flops, workspaceBytes: 0),
      link: LinkModel(bytesPerSecond: bytes, latency: 0))
  }

  @Test func aRingHidesFromSomeLengthOn() throws {
    let ring = try model("flash", n: 4096).prediction(.ring, ranks: 4)
    let flops = 2.0 * 128 * 8 * 4096 * 4097 / 2
    #expect(abs(ring.compute - flops / 1e11 / 4) < 1e-3 * ring.compute)
    #expect(ring.bytes == 3 * 1024 * 8 * 128 * 4)
    #expect(abs(ring.communication - Double(ring.bytes) / 1e9) < 1e-9)
    // At the length where it says that communication hides, it does, and not at half of it.
    let from = try #require(ring.hiddenFrom)
    let there = try model("flash", n: from + from / 50).prediction(.ring, ranks: 4)
    #expect(abs(there.time - there.compute) < 1e-9)
    let before = try model("flash", n: from / 2).prediction(.ring, ranks: 4)
    #expect(before.time > before.compute * 1.2)
    #expect(before.hidden < 0.9)
  }

  @Test func oneRankMovesNothing() throws {
    for scheme in [Scheme.ring, .allgather, .alltoall] {
      let one = try model("flash", n: 1000).prediction(scheme, ranks: 1)
      #expect(one.bytes == 0)
      #expect(abs(one.time - one.compute) < 1e-12)
    }
  }

  @Test func contiguousShardsLoseBalance() throws {
    let flash = try model("flash", n: 8000)
    let zigzag = try flash.prediction(.ring, ranks: 4, order: .zigzag)
    let contiguous = try flash.prediction(.ring, ranks: 4, order: .contiguous)
    // The last of 4 blocks has 7 sixteenths of the pairs instead of 4.
    #expect(abs(contiguous.compute / zigzag.compute - 7.0 / 4) < 0.01)
  }

  @Test func aPipelineOfHeadsFills() throws {
    let states = try model("gated", n: 8000, bytes: 1e15).prediction(.states, ranks: 4)
    #expect(abs(states.time / states.compute - 11.0 / 8) < 0.01)
  }

  @Test func aSlowLinkIsWhatAPipelineOfHeadsWaitsFor() throws {
    let model = try model("gated", n: 8000, flops: 1e18, bytes: 1e6)
    let states = try model.prediction(.states, ranks: 4)
    // Eight states of 16 KiB, one behind the other, and the last of them over two more links.
    let state = 4.0 * 64 * 64 / 1e6
    #expect(abs(states.time / (state * 10) - 1) < 1e-3)
  }

  @Test func aHaloHidesBehindTheOwnKeysAlone() throws {
    // A rank of 1,000 rows sees 500 keys a row; of those of others 500 x 499 / 2 pairs, which wait for the link.
    let model = try model("window(500)", n: 4000, flops: 1e18, bytes: 1e6)
    let slow = try model.prediction(.halo, ranks: 4)
    #expect(abs(slow.time / slow.communication - 1) < 1e-6)
    let even = try self.model("window(500)", n: 4000, flops: 1e9, bytes: 1e15)
      .prediction(.halo, ranks: 4)
    #expect(abs(even.time / even.compute - 1) < 1e-6)
    let own = (500_000.0 - 500 * 499 / 2) / 500_000
    let balanced = try self.model(
      "window(500)", n: 4000, flops: 1e9, bytes: Double(even.bytes) / even.compute
    ).prediction(.halo, ranks: 4)
    // The link takes as long as all computing: it hides behind the own keys, and the others' follow.
    #expect(abs(balanced.time / even.compute - (2 - own)) < 1e-3)
  }

  @Test func badLinksAreRefused() {
    #expect {
      try LinkModel(bytesPerSecond: 0, latency: 0)
    } throws: { "\($0)".contains("link = 0.0: must be a rate above 0") }
    #expect {
      try LinkModel(bytesPerSecond: 1, latency: -1)
    } throws: { "\($0)".contains("latency = -1.0") }
  }
}
