import AttentionBench
import Foundation
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
    #expect(fit.rSquared > 1 - 1e-12)
    #expect(try #require(fit.residualSpread) < 1e-10)
  }

  @Test("Every size weighs alike, as the normal equations on logarithms say")
  func relativeWeights() throws {
    // On logs to base 2, x = 0, 1, 2 and y = 1, 1, 2: slope 1/2, intercept 5/6.
    let fit = try #require(PowerLawFit([(1, 2), (2, 2), (4, 4)]))
    #expect(abs(fit.exponent - 0.5) < 1e-12)
    #expect(abs(fit.factor - power(2, 5.0 / 6)) < 1e-12)
  }

  @Test("How far the points lie off the line, on logarithms")
  func residuals() throws {
    // y = 0, 1, 0 at x = 0, 1, 2: the line is y = 1/3, residuals -1/3, 2/3, -1/3, one degree left.
    let fit = try #require(PowerLawFit([(1, 1), (M_E, M_E), (M_E * M_E, 1)]))
    #expect(abs(fit.exponent) < 1e-12)
    #expect(abs(fit.rSquared) < 1e-12)
    let deviation: Double = (2.0 / 3).squareRoot()
    #expect(abs(try #require(fit.residualSpread) - deviation) < 1e-12)
    // y = 0, 1, 2, 2 at x = 0, 1, 2, 3: SSR = 0.3, SST = 2.75.
    let four = [(1.0, 1.0), (2, 2), (4, 4), (8, 4)].map { (n: $0.0, t: $0.1) }
    let line = try #require(PowerLawFit(four))
    #expect(abs(line.exponent - 0.7) < 1e-12)
    #expect(abs(line.rSquared - (1 - 0.3 / 2.75)) < 1e-12)
    let spread: Double = log(2) * (0.3 / 2).squareRoot()
    #expect(abs(try #require(line.residualSpread) - spread) < 1e-12)
  }

  @Test("Two points have a line and nothing to judge it by; equal times vary not at all")
  func degenerate() throws {
    let two = try #require(PowerLawFit([(1000, 1), (2000, 2)]))
    #expect(abs(two.exponent - 1) < 1e-12)
    #expect(two.residualSpread == nil)
    let level = try #require(PowerLawFit([(1000, 1), (2000, 1), (4000, 1)]))
    #expect(level.exponent == 0 && level.rSquared == 1)
  }

  @Test("Points that say nothing give no fit")
  func unusable() {
    #expect(PowerLawFit([]) == nil)
    #expect(PowerLawFit([(1000, 1)]) == nil)
    #expect(PowerLawFit([(1000, 1), (1000, 2)]) == nil)
    #expect(PowerLawFit([(1000, 1), (2000, 0)]) == nil)
    #expect(PowerLawFit([(1000, 1), (2000, .nan)]) == nil)
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
