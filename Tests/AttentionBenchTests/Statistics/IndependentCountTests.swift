import AttentionBench
import Testing

@Suite("Independent samples")
struct IndependentCountTests {
  @Test("Independent samples count in full, nearly always")
  func independent() {
    var generator = SeededGenerator(seed: 5)
    var reduced = 0
    for _ in 0..<1000 {
      let samples = (0..<20).map { _ in Double.random(in: 1...2, using: &generator) }
      let count = IndependentCount.of(samples)
      #expect((1...20).contains(count))
      if count < 20 { reduced += 1 }
    }
    #expect(reduced < 80, "\(reduced)")
  }

  @Test("A drift makes few of many")
  func drift() {
    let rising = (0..<40).map { index -> Double in 1 + Double(index) / 100 }
    #expect(IndependentCount.of(rising) <= 3)
    let step = (0..<40).map { index -> Double in
      let noise = Double(index < 20 ? index % 3 : index % 5) / 100
      return (index < 20 ? 1 : 2) + noise
    }
    #expect(IndependentCount.of(step) <= 10)
  }

  @Test("Each sample half of the one before: a third of them")
  func autoregressive() {
    // r = 1/2 gives (1 - r) / (1 + r) = 1/3.
    var generator = SeededGenerator(seed: 6)
    var value = 0.0
    let samples = (0..<2000).map { _ in
      value = value / 2 + Double.random(in: -1...1, using: &generator)
      return 10 + value
    }
    #expect((560...790).contains(IndependentCount.of(samples)))
  }

  @Test("Too few to tell, all alike, in turns, or one outlier: all count")
  func unreduced() {
    #expect(IndependentCount.of([]) == 0)
    #expect(IndependentCount.of([1]) == 1)
    #expect(IndependentCount.of([1, 2]) == 2)
    #expect(IndependentCount.of(Array(repeating: 3, count: 30)) == 30)
    #expect(IndependentCount.of((0..<30).map { Double($0 % 2) }) == 30)
    #expect(IndependentCount.of([1, 2, 1, 3, 2, 900, 1, 3, 2, 1]) == 10)
  }
}
