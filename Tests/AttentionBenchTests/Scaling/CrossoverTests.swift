import AttentionBench
import Foundation
import Testing

@Suite("Crossovers")
struct CrossoverTests {
  @Test("Two power laws cross where their quotient is 1")
  func closedForm() throws {
    var sweep = ScalingFixture()
    sweep.curve("flash") { 2e-9 * $0 * $0 }
    sweep.curve("linear") { 6e-6 * $0 }
    let crossover = try #require(sweep.analysis.crossovers.first)
    #expect(sweep.analysis.crossovers.count == 1)
    #expect(crossover.outcome == .crossing)
    #expect(crossover.faster.text == "linear" && crossover.slower.text == "flash")
    #expect(abs(try #require(crossover.n) - 3000) < 1e-6)
    let interval = try #require(crossover.interval)
    #expect(abs(interval.lowerBound - 3000) < 1e-6 && abs(interval.upperBound - 3000) < 1e-6)
    #expect(crossover.share == 1 && crossover.decided == ScalingFixture.sizes.count)
    #expect(crossover.sentence == "linear beats flash from n = 3,000 (3,000 to 3,000)")
  }

  @Test("The interval of a crossing holds the truth in about 95 of 100 sweeps")
  func coverage() throws {
    var generator = SeededGenerator(seed: 23)
    var hits = 0
    let sweeps = 300
    for _ in 0..<sweeps {
      var sweep = ScalingFixture()
      sweep.noisyCurve("flash", using: &generator) { 2e-9 * $0 * $0 }
      sweep.noisyCurve("linear", using: &generator) { 6e-6 * $0 }
      let crossover = try #require(sweep.analysis.crossovers.first)
      #expect(crossover.outcome == .crossing)
      if try #require(crossover.interval).contains(3000) { hits += 1 }
    }
    #expect((0.925...0.995).contains(Double(hits) / Double(sweeps)))
  }

  @Test("Every crossing of a pair is found, in rising order")
  func several() throws {
    var sweep = ScalingFixture()
    sweep.curve("flash") { $0 }
    // Faster by 2, then slower by 2, then faster by 2: in the middle between the sizes on a log scale.
    let factors = [1000: 0.5, 2000: 0.5, 4000: 2, 8000: 2, 16000: 0.5, 32000: 0.5]
    sweep.curve("window") { $0 * (factors[Int($0)] ?? 1) }
    let crossovers = sweep.analysis.crossovers
    #expect(crossovers.map(\.faster.text) == ["flash", "window"])
    #expect(crossovers.allSatisfy { $0.outcome == .crossing })
    for (crossover, expected) in zip(crossovers, [8e6, 128e6]) {
      #expect(abs(try #require(crossover.n) - expected.squareRoot()) < 1e-6)
    }
  }

  @Test("A lead that never changes is said as such, whatever the curves do beyond the sizes")
  func none() throws {
    var sweep = ScalingFixture()
    sweep.curve("flash") { 1e-9 * $0 * $0 }
    sweep.curve("linear") { 40e-6 * $0 }
    let crossover = try #require(sweep.analysis.crossovers.first)
    #expect(crossover.outcome == .none && crossover.n == nil && crossover.interval == nil)
    #expect(crossover.sentence == "flash is faster than linear at every measured size")
  }

  @Test("After a tie the lead begins where the tie ends")
  func ties() throws {
    var sweep = ScalingFixture()
    sweep.curve("flash") { $0 }
    let factors = [1000: 2.0, 2000: 2, 4000: 1, 8000: 1, 16000: 0.5, 32000: 0.5]
    sweep.curve("window") { $0 * (factors[Int($0)] ?? 1) }
    let crossover = try #require(sweep.analysis.crossovers.first)
    #expect(crossover.faster.text == "window" && crossover.decided == 4)
    #expect(abs(try #require(crossover.n) - 8000) < 1e-6)
  }

  @Test("A tie that ends as it began is no crossing")
  func touch() throws {
    var sweep = ScalingFixture()
    sweep.curve("flash") { $0 }
    sweep.curve("window") { $0 == 4000 ? $0 : 2 * $0 }
    let crossover = try #require(sweep.analysis.crossovers.first)
    #expect(crossover.outcome == .none && crossover.faster.text == "flash")
    #expect(crossover.decided == ScalingFixture.sizes.count - 1)
  }

  @Test("Equal curves are level, and so are those that only noise tells apart")
  func level() throws {
    var generator = SeededGenerator(seed: 41)
    var sweep = ScalingFixture()
    sweep.curve("flash") { $0 }
    sweep.curve("window") { $0 }
    #expect(sweep.analysis.crossovers.map(\.outcome) == [.level])
    var noisy = ScalingFixture()
    noisy.noisyCurve("flash", noise: 0.2, using: &generator) { $0 }
    noisy.noisyCurve("window", noise: 0.2, using: &generator) { $0 }
    let crossover = try #require(noisy.analysis.crossovers.first)
    #expect(noisy.analysis.crossovers.count == 1 && crossover.outcome == .level)
    #expect(crossover.sentence == "flash and window are level at every measured size")
  }

  /// The medians cross at the last size by 1% of noise of 20%.
  @Test("A crossing that the samples do not carry is unclear, with the share that has it")
  func unclear() throws {
    var sweep = ScalingFixture()
    sweep.curve("flash", sizes: [1000, 2000]) { $0 }
    sweep.curve("window", sizes: [1000, 2000]) { 2 * $0 }
    let spread = [0.8, 0.85, 0.9, 1, 1.1, 1.15, 1.2]
    sweep.measure("flash", n: 4000, spread.map { 4000 * $0 })
    sweep.measure("window", n: 4000, spread.map { 3960 * $0 })
    let crossover = try #require(sweep.analysis.crossovers.first)
    #expect(sweep.analysis.crossovers.count == 1)
    #expect(crossover.outcome == .unclear && crossover.interval == nil && crossover.decided == 2)
    #expect(crossover.faster.text == "window")
    let share = try #require(crossover.share)
    #expect(share > 0.4 && share < 0.7)
    #expect(crossover.sentence.hasPrefix("unclear: window may beat flash from about n = 3,9"))
    #expect(crossover.sentence.hasSuffix("% of resamples)"))
  }

  /// The curves touch at two sizes, where noise makes the medians cross again and again.
  @Test("Noise around a crossing widens it and does not multiply it")
  func wide() throws {
    var generator = SeededGenerator(seed: 2)
    let factors = [1000: 1.2, 2000: 1.2, 4000: 1, 8000: 1, 16000: 0.8, 32000: 0.8]
    for _ in 0..<20 {
      var sweep = ScalingFixture()
      sweep.noisyCurve("flash", noise: 0.05, using: &generator) { $0 }
      sweep.noisyCurve("window", noise: 0.05, using: &generator) { $0 * (factors[Int($0)] ?? 1) }
      let crossovers = sweep.analysis.crossovers
      #expect(crossovers.count == 1)
      let crossover = try #require(crossovers.first)
      #expect(crossover.outcome == .crossing && crossover.faster.text == "window")
      let interval = try #require(crossover.interval)
      #expect(interval.lowerBound > 2000 && interval.upperBound < 16000)
      #expect(interval.contains(try #require(crossover.n)))
    }
  }

  @Test("A lead that only noise interrupts is no crossing")
  func dip() throws {
    var sweep = ScalingFixture()
    sweep.curve("flash", sizes: [1000, 4000]) { $0 }
    sweep.curve("window", sizes: [1000, 4000]) { 2 * $0 }
    let spread = [0.8, 0.85, 0.9, 1, 1.1, 1.15, 1.2]
    sweep.measure("flash", n: 2000, spread.map { 2000 * $0 })
    sweep.measure("window", n: 2000, spread.map { 1980 * $0 })
    let crossovers = sweep.analysis.crossovers
    #expect(crossovers.map(\.outcome) == [.none])
    #expect(crossovers.first?.faster.text == "flash" && crossovers.first?.decided == 2)
  }

  @Test("Only sizes that both have are compared, across the gaps of either")
  func gaps() throws {
    var sweep = ScalingFixture()
    sweep.curve("flash", sizes: [1000, 2000, 8000, 16000]) { 2e-9 * $0 * $0 }
    sweep.curve("linear", sizes: [1000, 4000, 8000, 32000]) { 6e-6 * $0 }
    let crossover = try #require(sweep.analysis.crossovers.first)
    #expect(crossover.sizes == [1000, 8000])
    #expect(abs(try #require(crossover.n) - 3000) < 1e-6)
  }

  @Test("Curves of other settings, or without a common size, are not compared")
  func incomparable() {
    var sweep = ScalingFixture()
    sweep.curve("flash", threads: 1) { $0 }
    sweep.curve("linear", threads: 2) { $0 }
    sweep.curve("strided", threads: 2, bind: "none") { $0 }
    sweep.curve("fixed", sizes: [999], threads: 2) { $0 }
    #expect(sweep.analysis.crossovers.isEmpty)
  }

  @Test("Each setting has its own crossings, and says which it is")
  func settings() {
    var sweep = ScalingFixture()
    for threads in [1, 2] {
      sweep.curve("flash", threads: threads) { 2e-9 * $0 * $0 }
      sweep.curve("linear", threads: threads) { 6e-6 * Double(threads) * $0 }
    }
    #expect(
      sweep.analysis.crossovers.map(\.sentence) == [
        "linear beats flash from n = 6,000 (6,000 to 6,000), 2 threads",
        "linear beats flash from n = 3,000 (3,000 to 3,000), 1 thread",
      ])
  }

  @Test("Without raw samples no crossing is certain")
  func noSamples() throws {
    var sweep = ScalingFixture()
    sweep.curve("flash") { 2e-9 * $0 * $0 }
    sweep.curve("linear") { 6e-6 * $0 }
    sweep.curve("fixed") { 60 * $0 }
    let crossovers = ScalingAnalysis(rows: sweep.rows, samples: []).crossovers
    #expect(crossovers.map(\.outcome) == [.none, .none, .unclear])
    #expect(
      crossovers.last?.sentence
        == "unclear: linear may beat flash from about n = 3,000 (no raw samples)")
  }

  @Test(
    "Sizes have the digits that their interval supports",
    arguments: [
      (1143.2, 1020.4, 1302.0, "1,140 (1,020 to 1,300)"),
      (14209, 13721, 14522, "14,210 (13,720 to 14,520)"),
      (1705.9, 1699.7, 1716.4, "1,706 (1,700 to 1,716)"),
      (999.6, 900, 1200, "1,000 (900 to 1,200)"),
      (1_234_567, 1_200_000, 1_300_000, "1,230,000 (1,200,000 to 1,300,000)"),
      (3.2, 2.9, 4.4, "3 (3 to 4)"), (3000, 3000, 3000, "3,000 (3,000 to 3,000)"),
    ])
  func digits(n: Double, low: Double, high: Double, text: String) {
    #expect(RoundedSize.text(n, low...high) == text)
  }
}
