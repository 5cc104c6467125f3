import AttentionBench
import Foundation
import Testing

@Suite("Exponents")
struct CurveFitTests {
  @Test("A power law comes back exactly, with no interval to speak of", arguments: [0.5, 1, 2])
  func exact(exponent: Double) throws {
    var sweep = ScalingFixture()
    sweep.curve("flash") { 3e-9 * pow($0, exponent) }
    let fit = try #require(sweep.analysis.fits.first)
    #expect(fit.sizes == ScalingFixture.sizes)
    #expect(abs(try #require(fit.law).exponent - exponent) < 1e-12)
    let interval = try #require(fit.exponentInterval)
    #expect(interval.lowerBound - 1e-12 <= exponent && exponent <= interval.upperBound + 1e-12)
    #expect(interval.upperBound - interval.lowerBound < 1e-12)
    #expect(fit.slopes.map(\.from) == Array(ScalingFixture.sizes.dropLast()))
    #expect(fit.slopes.map(\.to) == Array(ScalingFixture.sizes.dropFirst()))
    #expect(fit.slopes.allSatisfy { abs($0.exponent - exponent) < 1e-12 })
  }

  /// 300 sweeps: by chance alone a true 95% would be found as 92.5% to 97.5%. The bootstrap of a
  /// median of few samples is known to err to the wide side.
  @Test("With noise the interval holds the truth in about 95 of 100 sweeps", arguments: [6, 9])
  func coverage(samples: Int) throws {
    var generator = SeededGenerator(seed: 17)
    var (whole, last) = (0, 0)
    let sweeps = 300
    for _ in 0..<sweeps {
      var sweep = ScalingFixture()
      sweep.noisyCurve("flash", count: samples, using: &generator) { $0 * $0 * 1e-9 }
      let fit = try #require(sweep.analysis.fits.first)
      if try #require(fit.exponentInterval).contains(2) { whole += 1 }
      if try #require(fit.slopes.last?.interval).contains(2) { last += 1 }
    }
    #expect((0.925...0.995).contains(Double(whole) / Double(sweeps)))
    #expect((0.925...0.995).contains(Double(last) / Double(sweeps)))
  }

  @Test("Intervals repeat, and follow the noise")
  func noise() throws {
    func width(_ noise: Double) throws -> Double {
      var generator = SeededGenerator(seed: 3)
      var sweep = ScalingFixture()
      sweep.noisyCurve("flash", noise: noise, using: &generator) { $0 * $0 * 1e-9 }
      let interval = try #require(sweep.analysis.fits.first?.exponentInterval)
      #expect(interval == sweep.analysis.fits.first?.exponentInterval)
      let other = ScalingAnalysis(rows: sweep.rows, samples: sweep.samples, seed: 2)
      #expect(interval != other.fits.first?.exponentInterval)
      return interval.upperBound - interval.lowerBound
    }
    let ratio = try width(0.1) / width(0.01)
    #expect(ratio > 5 && ratio < 15)
  }

  @Test("Local slopes show where a curve bends")
  func bend() throws {
    var sweep = ScalingFixture()
    sweep.curve("linear") { $0 < 5000 ? $0 : $0 * $0 / 4000 }
    let slopes = try #require(sweep.analysis.fits.first).slopes
    for (slope, expected) in zip(slopes, [1.0, 1, 2, 2, 2]) {
      #expect(abs(slope.exponent - expected) < 1e-12)
    }
  }

  @Test("Two sizes have a slope and no exponent, one size has neither")
  func fewSizes() throws {
    var sweep = ScalingFixture()
    sweep.curve("flash", sizes: [1000, 2000]) { $0 }
    sweep.curve("full", sizes: [1000]) { $0 }
    sweep.skip("window", n: 1000)
    let fits = sweep.analysis.fits
    #expect(fits.map(\.label.text) == ["full", "flash", "window"])
    #expect(fits.map(\.sizes.count) == [1, 2, 0])
    #expect(fits.allSatisfy { $0.law == nil && $0.exponentInterval == nil })
    #expect(fits.map(\.slopes.count) == [0, 1, 0])
    #expect(abs(fits[1].slopes[0].exponent - 1) < 1e-12)
  }

  @Test("Cells that were not measured do not count")
  func skipped() throws {
    var sweep = ScalingFixture()
    sweep.curve("flash", sizes: [1000, 2000, 8000]) { $0 * $0 }
    sweep.skip("flash", n: 4000, status: .error)
    sweep.skip("flash", n: 16000, status: .skippedMemory)
    let fit = try #require(sweep.analysis.fits.first)
    #expect(fit.sizes == [1000, 2000, 8000])
    #expect(abs(try #require(fit.law).exponent - 2) < 1e-12)
    #expect(fit.slopes.last?.from == 2000 && fit.slopes.last?.to == 8000)
  }

  /// One sample has no spread of its own; without the others' noise its interval would be a point.
  @Test("A cell with few samples takes its noise from the whole curve")
  func fewSamples() throws {
    var generator = SeededGenerator(seed: 5)
    var sweep = ScalingFixture()
    sweep.noisyCurve("flash", sizes: [1000, 2000], using: &generator) { $0 }
    sweep.measure("flash", n: 4000, [4000])
    sweep.measure("flash", n: 8000, [8000])
    let slope = try #require(sweep.analysis.fits.first?.slopes.last)
    let interval = try #require(slope.interval)
    #expect(interval.upperBound - interval.lowerBound > 0.02)
    var alone = ScalingFixture()
    for n in [1000, 2000, 4000] { alone.measure("flash", n: n, [Double(n)]) }
    let fit = try #require(alone.analysis.fits.first)
    #expect(fit.law != nil && fit.exponentInterval == nil)
    #expect(fit.slopes.allSatisfy { $0.interval == nil })
  }

  @Test("Of a cell that ran again only the last samples count")
  func ranAgain() throws {
    var sweep = ScalingFixture()
    sweep.measure("flash", n: 1000, [50, 60, 90, 70, 20, 80, 10])
    sweep.curve("flash", sizes: [1000, 2000, 4000]) { $0 }
    let interval = try #require(sweep.analysis.fits.first?.slopes.first?.interval)
    #expect(interval.upperBound - interval.lowerBound < 1e-12)
  }

  @Test("Without raw samples there are exponents and no intervals")
  func noSamples() throws {
    var sweep = ScalingFixture()
    sweep.curve("flash") { $0 }
    let fit = try #require(ScalingAnalysis(rows: sweep.rows, samples: []).fits.first)
    #expect(abs(try #require(fit.law).exponent - 1) < 1e-12)
    #expect(fit.exponentInterval == nil)
  }

  @Test("Threads and bindings make curves of their own, and are named where they differ")
  func settings() {
    var sweep = ScalingFixture()
    sweep.curve("flash", threads: 1, bind: "core:0") { $0 }
    sweep.curve("flash", threads: 2, bind: "core:0-1") { $0 }
    #expect(sweep.analysis.fits.map(\.label.text) == ["flash, 2 threads", "flash, 1 thread"])
    sweep.curve("flash", threads: 2, bind: "none") { $0 }
    #expect(
      sweep.analysis.fits.map(\.label.text)
        == ["flash, 2 threads, core:0-1", "flash, 2 threads, none", "flash, 1 thread"])
  }

  @Test("A curve more changes no interval of the others")
  func independent() throws {
    var generator = SeededGenerator(seed: 9)
    var sweep = ScalingFixture()
    sweep.noisyCurve("flash", using: &generator) { $0 }
    let alone = sweep.analysis.fits
    sweep.noisyCurve("full", using: &generator) { 2 * $0 }
    sweep.curve("full", threads: 1) { 2 * $0 }
    let flash = sweep.analysis.fits.filter { $0.label.strategy == "flash" }
    #expect(flash.map(\.exponentInterval) == alone.map(\.exponentInterval))
    #expect(flash.map(\.slopes) == alone.map(\.slopes))
  }
}
