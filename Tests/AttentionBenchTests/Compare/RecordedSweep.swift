import AttentionBench
import Foundation

/// A sweep's directory as a test wants it: cells with made-up samples.
struct RecordedSweep {
  /// One cell: its row and its samples in seconds.
  struct Cell {
    var row: ResultRow
    var times: [Double]

    init(_ row: ResultRow, times: [Double] = []) {
      self.row = row
      self.times = times
      if let summary = SampleSummary(times) { self.row.time = .init(summary) }
    }
  }

  var cells: [Cell] = []

  /// Cells of `count` samples each whose times lie around `seconds`, as timings do.
  static func made(
    _ strategies: [String] = ["full", "flash", "window"], sizes: [Int] = [1000, 2000, 4000],
    samples: Int = 9, factor: Double = 1, seed: UInt64
  ) -> RecordedSweep {
    var generator = SeededGenerator(seed: seed)
    var sweep = RecordedSweep()
    for n in sizes {
      for name in strategies {
        let times = RatioEstimateTests.timings(
          samples, median: factor * 1e-9 * Double(n * n), using: &generator)
        sweep.cells.append(Cell(.measured(name, n: n), times: times))
      }
    }
    return sweep
  }

  /// The same with every time of the cells that `isMeant` chooses multiplied.
  func scaled(by factor: Double, where isMeant: (ResultRow) -> Bool = { _ in true }) -> Self {
    var sweep = self
    sweep.cells = cells.map { cell in
      isMeant(cell.row) ? Cell(cell.row, times: cell.times.map { $0 * factor }) : cell
    }
    return sweep
  }

  /// Writes `results.csv` and `samples.csv`.
  func write(to path: String) throws {
    let directory = try RunDirectory(path: path, resuming: true)
    for cell in cells {
      try directory.append(
        cell.row,
        samples: cell.times.enumerated().map { index, time in
          SampleRow(
            runID: cell.row.runID, cellID: cell.row.cellID, index: index, round: index + 1,
            time: time, cpuTime: time, startedAt: Double(index))
        })
    }
  }

  /// Writes both and compares the second with the first.
  static func compare(
    _ a: RecordedSweep, _ b: RecordedSweep, rules: ComparisonRules = ComparisonRules()
  ) throws -> Comparison {
    try withTemporaryDirectory { path in
      try a.write(to: path + "/a")
      try b.write(to: path + "/b")
      return Comparison(
        try RecordedRun(reading: path + "/a"), try RecordedRun(reading: path + "/b"), rules: rules)
    }
  }
}
