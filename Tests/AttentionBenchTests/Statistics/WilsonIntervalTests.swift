import AttentionBench
import Testing

@Suite("Wilson interval")
struct WilsonIntervalTests {
  /// R: prop.test(x, n, correct = FALSE)$conf.int.
  @Test(
    "Ends as R gives them",
    arguments: [
      (0, 10, 0.0, 0.277_532_8), (5, 10, 0.236_593_1, 0.763_406_9), (10, 10, 0.722_467_2, 1.0),
      (1, 256, 0.000_690_042, 0.021_781_1),
    ])
  func ends(count: Int, total: Int, lower: Double, upper: Double) {
    let interval = WilsonInterval(count: count, of: total)
    #expect(abs(interval.lower - lower) < 1e-5)
    #expect(abs(interval.upper - upper) < 1e-5)
  }

  @Test("It holds the share and stays a share")
  func order() {
    for total in 1...40 {
      for count in 0...total {
        let interval = WilsonInterval(count: count, of: total)
        let share = Double(count) / Double(total)
        #expect(0 <= interval.lower && interval.lower <= share)
        #expect(share <= interval.upper && interval.upper <= 1)
      }
    }
  }

  @Test("Nothing tried, nothing known")
  func nothing() {
    #expect(WilsonInterval(count: 0, of: 0).lower == 0)
    #expect(WilsonInterval(count: 0, of: 0).upper == 1)
  }
}
