import AttentionBench

/// Rows of a sweep as a 2-core machine might give them: made up, but of the right shape.
enum SyntheticSweep {
  static let sizes = [1000, 2000, 4000, 8000, 16000, 32000, 64000, 100_000]

  /// Every strategy over `sizes`; exact runs out of memory and of time.
  static func rows(threads: [Int] = [2], seed: UInt64 = 1) -> [ResultRow] {
    var generator = SeededGenerator(seed: seed)
    var rows: [ResultRow] = []
    for count in threads {
      for n in sizes {
        let rate = 200e9 * Double(count)
        let full = 4.0 * Double(n) * Double(n) * 256 / rate
        let linear = Double(n) * 4 * 2.5e-7 / Double(count)
        for (name, parameters, classification, seconds) in [
          ("full", "", "exact", 2.2 * full),
          ("flash", "96,128", "exact", full + 2e-5),
          ("window", "512", "restricted softmax", full * min(1, 530 / Double(n)) * 1.5 + 3e-5),
          ("strided", "\(n / 64)", "restricted softmax", full * 24 / Double(n).squareRoot() + 4e-5),
          ("linear", "elu", "different operator", linear + 6e-5),
        ] {
          var row = row(name, parameters, classification, n: n, threads: count)
          if name == "full" && n >= 32000 {
            row.status = n >= 64000 ? .skippedMemory : .skippedTime
            row.reason = "made up"
          } else {
            measure(&row, seconds: seconds, using: &generator)
          }
          rows.append(row)
        }
      }
    }
    return rows.shuffled(using: &generator)
  }

  private static func row(
    _ name: String, _ parameters: String, _ classification: String, n: Int, threads: Int
  ) -> ResultRow {
    var row = ResultRow.measured(
      name, n: n, threads: threads, classification: classification, status: .skippedTime)
    row.strategy.parameters = parameters
    row.status = .ok
    return row
  }

  private static func measure(
    _ row: inout ResultRow, seconds: Double, using generator: inout SeededGenerator
  ) {
    let samples = (0..<9).map { _ in
      seconds * (1 + 0.06 * Double.random(in: 0...1, using: &generator))
    }
    guard let summary = SampleSummary(samples) else { return }
    let n = row.shape.queryLength
    row.time = .init(summary, cpuTime: seconds * Double(row.placement.threads))
    let isExact = row.strategy.name == "full"
    row.work.workspaceBytes = isExact ? 4 * n * n * row.placement.threads : 300_000 + 40 * n
    row.work.peakRSSDeltaBytes = (row.work.workspaceBytes ?? 0) + 700_000
    let shares = [
      "full": 32.0, "flash": 74, "window": 49, "strided": 44, "linear": 21,
    ]
    let errors = ["window": 0.4, "strided": 0.3, "linear": 0.8]
    row.accuracy.relativeL2 = errors[row.strategy.name] ?? 3e-7
    row.work.gflopPerSecond = Double(4 * n * n * 256) / summary.median / 1e9
    row.work.minimumBytes = 4 * 4 * n * 256
    let ramp = Double(n) / (Double(n) + 300)
    row.work.percentOfPeak = (shares[row.strategy.name] ?? 10) * ramp
    if row.strategy.name == "strided" && n == 100_000 { row.status = .lowSamples }
    if row.strategy.name == "window" && n == 1000 { row.status = .noisy }
  }
}
