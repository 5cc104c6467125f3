import AttentionBench
import Testing

@Suite("Power law fit")
struct PowerLawFitTests {
  static let sizes: [Double] = [1000, 2000, 4000, 8000, 16000, 32000]

  @Test("An exact power law comes back", arguments: [0.5, 1, 1.5, 2])
  func exact(exponent: Double) throws {
    let points = Self.sizes.map { (n: $0, t: 3e-9 * power($0, exponent)) }
    let fit = try #require(PowerLawFit(points))
    #expect(abs(fit.exponent - exponent) < 1e-12)
    #expect(abs(fit.factor / 3e-9 - 1) < 1e-10)
    #expect(abs(fit.value(at: 4000) / points[2].t - 1) < 1e-10)
    let interval = try #require(fit.exponentInterval())
    #expect(interval.upperBound - interval.lowerBound < 1e-10)
  }

  @Test("Every size weighs alike, as the normal equations on logarithms say")
  func relativeWeights() throws {
    // On logs to base 2, x = 0, 1, 2 and y = 1, 1, 2: slope 1/2, intercept 5/6.
    let fit = try #require(PowerLawFit([(1, 2), (2, 2), (4, 4)]))
    #expect(abs(fit.exponent - 0.5) < 1e-12)
    #expect(abs(fit.factor - power(2, 5.0 / 6)) < 1e-12)
  }

  @Test("The bootstrap interval holds the exponent, repeats with its seed and narrows with noise")
  func bootstrap() throws {
    var generator = SeededGenerator(seed: 3)
    func noisy(_ share: Double) -> [(n: Double, t: Double)] {
      Self.sizes.map { size in
        (size, size * size * 1e-9 * (1 + Double.random(in: -share...share, using: &generator)))
      }
    }
    let rough = try #require(PowerLawFit(noisy(0.2)))
    let wide = try #require(rough.exponentInterval(seed: 5))
    #expect(wide == rough.exponentInterval(seed: 5))
    #expect(wide != rough.exponentInterval(seed: 6))
    #expect(wide.contains(2) && wide.contains(rough.exponent))
    let narrow = try #require(PowerLawFit(noisy(0.01))?.exponentInterval(seed: 5))
    #expect(narrow.upperBound - narrow.lowerBound < (wide.upperBound - wide.lowerBound) / 3)
  }

  @Test("Points that say nothing give no fit")
  func unusable() {
    #expect(PowerLawFit([]) == nil)
    #expect(PowerLawFit([(1000, 1)]) == nil)
    #expect(PowerLawFit([(1000, 1), (1000, 2)]) == nil)
    #expect(PowerLawFit([(1000, 1), (2000, 0)]) == nil)
    #expect(PowerLawFit([(1000, 1), (2000, .nan)]) == nil)
    #expect(PowerLawFit([(1000, 1), (2000, 2)])?.exponentInterval() == nil)
  }

  @Test("Local exponents show where a curve bends")
  func local() {
    let slopes = PowerLawFit.localExponents([(4000, 16), (1000, 1), (2000, 2)])
    #expect(slopes.map(\.from) == [1000, 2000])
    #expect(slopes.map(\.to) == [2000, 4000])
    #expect(abs(slopes[0].exponent - 1) < 1e-12)
    #expect(abs(slopes[1].exponent - 3) < 1e-12)
  }

  /// Powers with a half-integer or simple exponent, without the function under test.
  private func power(_ base: Double, _ exponent: Double) -> Double {
    switch exponent {
    case 0.5: base.squareRoot()
    case 1: base
    case 1.5: base * base.squareRoot()
    case 2: base * base
    default: 1.781797436280679  // 2^(5/6)
    }
  }
}
