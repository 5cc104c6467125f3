import AttentionBench
import Testing

/// Errors and the limits they are held against.
@Suite struct HeadErrorsTests {
  @Test func allRowsNeedNoLimit() {
    var sums = SquaredErrors()
    for _ in 0..<50 { sums.add(error: 0.04, reference: 4) }
    sums.add(error: 0.5, reference: 1)
    let estimate = SquaredErrors.estimate([sums], rowsPerStratum: 51)
    #expect(abs(estimate.value - (2.5 / 201).squareRoot()) < 1e-15)
    #expect(estimate.upper == estimate.value)
  }

  @Test func nothingLostIsNoError() {
    var sums = SquaredErrors()
    sums.add(error: 0, reference: 1)
    #expect(SquaredErrors.estimate([sums], rowsPerStratum: 9).upper == 0)
    var zero = SquaredErrors()
    zero.add(error: 1, reference: 0)
    #expect(SquaredErrors.estimate([zero], rowsPerStratum: 9).upper == .infinity)
  }

  @Test func equalRatiosHaveNoVariance() {
    var sums = SquaredErrors()
    for k in 1...20 { sums.add(error: 0.01 * Double(k), reference: Double(k)) }
    let estimate = SquaredErrors.estimate([sums], rowsPerStratum: 1000)
    #expect(abs(estimate.value - 0.1) < 1e-12)
    #expect(abs(estimate.upper - 0.1) < 1e-6)
  }

  /// Strata that were sampled alike count by the rows they stand for.
  @Test func strataAreJoined() {
    var a = SquaredErrors()
    var b = SquaredErrors()
    for _ in 0..<10 { a.add(error: 1, reference: 100) }
    for _ in 0..<10 { b.add(error: 3, reference: 100) }
    let whole = SquaredErrors.estimate([a, b], rowsPerStratum: 10)
    #expect(abs(whole.value - (4.0 / 200).squareRoot()) < 1e-15)
  }

  /// Of many samples from rows whose error is known, at most a few percent may have a limit below
  /// it; the plain figure is below it in about half of them.
  @Test(arguments: [32, 64, 128])
  func theLimitHolds(samples: Int) {
    var generator = SeededGenerator(seed: 11)
    let rows = (0..<4096).map { _ -> (error: Double, reference: Double) in
      let unit = Double.random(in: 0..<1, using: &generator)
      let reference = 0.5 + Double.random(in: 0..<1, using: &generator)
      return (reference * 1e-4 * (0.1 + 4 * unit * unit * unit), reference)
    }
    let truth =
      (rows.reduce(0) { $0 + $1.error } / rows.reduce(0) { $0 + $1.reference }).squareRoot()
    let draws = 400
    var (below, valueBelow) = (0, 0)
    for _ in 0..<draws {
      var sums = SquaredErrors()
      for row in rows.shuffled(using: &generator).prefix(samples) {
        sums.add(error: row.error, reference: row.reference)
      }
      let estimate = SquaredErrors.estimate([sums], rowsPerStratum: rows.count)
      #expect(estimate.upper >= estimate.value)
      if estimate.upper < truth { below += 1 }
      if estimate.value < truth { valueBelow += 1 }
    }
    #expect(below <= draws * 4 / 100, "\(below) of \(draws) limits are below \(truth)")
    #expect(valueBelow > draws / 4)
  }

  /// Quantiles of the t distribution from its tables.
  @Test(arguments: [(5, 3.365), (10, 2.764), (30, 2.457), (100, 2.364), (100_000, 2.326)])
  func quantilesOfT(degrees: Int, expected: Double) {
    #expect(abs(SquaredErrors.oneSided99(degrees) / expected - 1) < 0.01)
  }
}
