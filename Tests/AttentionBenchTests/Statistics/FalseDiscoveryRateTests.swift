import AttentionBench
import Testing

@Suite("False discovery rate")
struct FalseDiscoveryRateTests {
  @Test("Adjusted as R's p.adjust does")
  func adjusted() {
    // R: p.adjust(c(0.01, 0.04, 0.03, 0.005, 0.8), "BH") is 0.025, 0.05, 0.05, 0.025, 0.8.
    let adjusted = FalseDiscoveryRate.adjusted([0.01, 0.04, 0.03, 0.005, 0.8])
    for (found, expected) in zip(adjusted, [0.025, 0.05, 0.05, 0.025, 0.8]) {
      #expect(abs(found - expected) < 1e-15)
    }
  }

  @Test("One test is itself, none is none, and alike stay alike")
  func small() {
    #expect(FalseDiscoveryRate.adjusted([]) == [])
    #expect(FalseDiscoveryRate.adjusted([0.2]) == [0.2])
    #expect(FalseDiscoveryRate.adjusted([0.02, 0.02, 0.02]) == [0.02, 0.02, 0.02])
    #expect(FalseDiscoveryRate.adjusted([0.02, 1, 1, 1]) == [0.08, 1, 1, 1])
  }
}
