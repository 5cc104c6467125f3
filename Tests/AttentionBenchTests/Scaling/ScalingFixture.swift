import AttentionBench
import Foundation

/// A sweep with times as a test wants them: rows and raw samples that belong together.
struct ScalingFixture {
  static let sizes = [1000, 2000, 4000, 8000, 16000, 32000]

  private(set) var rows: [ResultRow] = []
  private(set) var samples: [SampleRow] = []

  var analysis: ScalingAnalysis { ScalingAnalysis(rows: rows, samples: samples) }

  /// A measured cell. Its work is n^2 unless said otherwise.
  mutating func measure(
    _ strategy: String, n: Int, _ times: [Double], flops: Int? = nil, threads: Int = 2,
    bind: String = "core:0-1", keepsSamples: Bool = true
  ) {
    var row = ResultRow.measured(strategy, n: n, threads: threads)
    row.placement.bind = bind
    row.work.flops = flops ?? n * n
    if let summary = SampleSummary(times) { row.time = ResultRow.Times(summary) }
    rows.append(row)
    guard keepsSamples else { return }
    samples += times.enumerated().map { index, time in
      SampleRow(
        runID: row.runID, cellID: row.cellID, index: index, round: index, time: time,
        cpuTime: time, startedAt: 0)
    }
  }

  /// A cell that was not run.
  mutating func skip(
    _ strategy: String, n: Int, flops: Int? = nil, status: Status = .skippedTime
  ) {
    var row = ResultRow.measured(strategy, n: n, status: status)
    row.work.flops = flops ?? n * n
    rows.append(row)
  }

  /// A curve without noise: seven equal samples at every size.
  mutating func curve(
    _ strategy: String, sizes: [Int] = Self.sizes, threads: Int = 2, bind: String = "core:0-1",
    _ seconds: (Double) -> Double
  ) {
    for n in sizes {
      let times = [Double](repeating: seconds(Double(n)), count: 7)
      measure(strategy, n: n, times, threads: threads, bind: bind)
    }
  }

  /// A curve with the noise of timings: a floor and a tail, on average `noise` of the time. The
  /// true median is what `seconds` gives.
  mutating func noisyCurve(
    _ strategy: String, sizes: [Int] = Self.sizes, count: Int = 8, noise: Double = 0.03,
    using generator: inout SeededGenerator, _ seconds: (Double) -> Double
  ) {
    for n in sizes {
      let times = (0..<count).map { _ in
        seconds(Double(n)) * Self.tail(noise, using: &generator)
      }
      measure(strategy, n: n, times)
    }
  }

  /// 1 + noise E over its median, where E is exponential: so long is the wait for an interruption.
  private static func tail(_ noise: Double, using generator: inout SeededGenerator) -> Double {
    let wait = -log(Double.random(in: 0x1p-60...1, using: &generator))
    return (1 + noise * wait) / (1 + noise * log(2))
  }
}
