import AttentionBench
import Foundation
import Testing

@Suite("Predictions")
struct SizePredictionTests {
  @Test("At constant speed the work alone decides, and the check finds no error")
  func constantSpeed() throws {
    var sweep = ScalingFixture()
    // Work in steps, as that of a pattern whose parameter follows n in powers of two.
    let work = [1000: 10, 2000: 35, 4000: 60, 8000: 200, 16000: 390]
    for (n, flops) in work where n < 16000 {
      sweep.measure(
        "strided", n: n, [Double](repeating: 2e-3 * Double(flops), count: 7), flops: flops)
    }
    sweep.skip("strided", n: 16000, flops: 390)
    let predictions = sweep.analysis.predictions
    #expect(predictions.map(\.n) == [8000, 16000])
    #expect(predictions.map(\.from) == [4000, 8000])
    #expect(predictions.map(\.errors) == [2, 3])
    #expect(abs(predictions[0].seconds - 0.4) < 1e-12 && predictions[0].measured == 0.4)
    #expect(abs(try #require(predictions[0].error)) < 1e-12)
    #expect(abs(predictions[1].seconds - 0.78) < 1e-12)
    #expect(predictions[1].measured == nil && predictions[1].error == nil)
    let interval = try #require(predictions[1].interval)
    #expect(interval.upperBound / interval.lowerBound < 1 + 1e-9)
  }

  @Test("The interval is Student's for the steps of a random walk")
  func interval() throws {
    var sweep = ScalingFixture()
    // The logarithm of the speed moves by 0.1, -0.2 over factors of 2 and then by 0.05.
    let logs = [(1000, 0.0), (2000, 0.1), (4000, -0.1), (8000, -0.05)]
    for (n, log) in logs {
      sweep.measure("flash", n: n, [Double](repeating: exp(log) * Double(n * n), count: 7))
    }
    sweep.skip("flash", n: 32000, status: .skippedMemory)
    let predictions = sweep.analysis.predictions
    let check = try #require(predictions.first)
    #expect(check.status == .ok && check.errors == 2)
    #expect(abs(try #require(check.error) - (exp(-0.05) - 1)) < 1e-12)
    let checked = try #require(check.interval)
    let reach = exp(StudentT.bound(degrees: 2) * ((0.01 + 0.04) / 2).squareRoot())
    #expect(abs(checked.upperBound / (check.seconds * reach) - 1) < 1e-12)
    #expect(abs(checked.lowerBound / (check.seconds / reach) - 1) < 1e-12)

    let skipped = try #require(predictions.last)
    #expect(skipped.status == .skippedMemory && skipped.from == 8000 && skipped.errors == 3)
    // Two doublings ahead, and the size held out above counts.
    let spread = ((0.01 + 0.04 + 0.0025) / 3 * 2).squareRoot()
    let upper = try #require(skipped.interval).upperBound
    #expect(abs(log(upper / skipped.seconds) - StudentT.bound(degrees: 3) * spread) < 1e-12)
  }

  @Test("The interval holds the measured time in about 95 of 100 sweeps whose speed wanders")
  func coverage() throws {
    var generator = SeededGenerator(seed: 31)
    var hits = 0
    let sweeps = 500
    for _ in 0..<sweeps {
      var sweep = ScalingFixture()
      var speed = 0.0
      for n in ScalingFixture.sizes {
        // Twelve uniform numbers less their mean: normal enough, and of variance 1.
        let step = (0..<12).reduce(-6.0) { sum, _ in sum + .random(in: 0...1, using: &generator) }
        speed += 0.04 * step
        sweep.measure("flash", n: n, [Double(n * n) * exp(speed)])
      }
      let check = try #require(sweep.analysis.predictions.first)
      if try #require(check.interval).contains(try #require(check.measured)) { hits += 1 }
    }
    #expect((0.93...0.97).contains(Double(hits) / Double(sweeps)))
  }

  @Test("One earlier size gives a prediction without an interval, none gives none")
  func fewSizes() throws {
    var sweep = ScalingFixture()
    sweep.curve("flash", sizes: [1000, 2000]) { $0 * $0 }
    sweep.curve("full", sizes: [1000]) { $0 * $0 }
    sweep.skip("full", n: 2000)
    sweep.skip("window", n: 1000)
    let predictions = sweep.analysis.predictions
    #expect(predictions.map(\.label.text) == ["full", "flash"])
    #expect(predictions.allSatisfy { $0.errors == 0 && $0.interval == nil })
    #expect(predictions.map(\.measured) == [nil, 4e6])
  }

  @Test("A skipped size below measured ones rests on the sizes below it; failures have none")
  func middle() throws {
    var sweep = ScalingFixture()
    sweep.curve("flash", sizes: [1000, 2000, 8000]) { $0 * $0 }
    sweep.skip("flash", n: 4000)
    sweep.skip("flash", n: 16000, status: .error)
    sweep.skip("flash", n: 32000, status: .timeout)
    sweep.skip("flash", n: 64000, status: .wrong)
    sweep.skip("flash", n: 500)
    #expect(sweep.analysis.predictions.map(\.n) == [8000, 4000])
    #expect(sweep.analysis.predictions.last?.from == 2000)
  }

  @Test("Without counted work nothing is predicted")
  func noWork() {
    var sweep = ScalingFixture()
    sweep.curve("flash") { $0 }
    let rows = sweep.rows.map { row in
      var row = row
      row.work.flops = nil
      return row
    }
    #expect(ScalingAnalysis(rows: rows, samples: []).predictions.isEmpty)
  }
}
