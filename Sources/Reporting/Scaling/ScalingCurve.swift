import Choosing
import Measuring
import Records
import Statistics
import Units

/// One curve of a sweep as far as time goes: what was measured size by size, and what was skipped.
public struct ScalingCurve: Equatable, Sendable {
  /// A measured size.
  public struct Cell: Equatable, Sendable {
    public let n: Int
    /// The median time of a run.
    public let seconds: Double
    /// `ok`, `lowSamples` or `noisy`.
    public let status: Status
    /// The counted work of a run; nil where it is not known.
    public let flops: Int?
    /// How many samples the median rests on, at least 1.
    public let sampleCount: Int
    /// The samples over their median, rising; empty when they are not at hand.
    public let ratios: [Double]
  }

  /// A size that was not run because its prediction passed a limit.
  public struct SkippedCell: Equatable, Sendable {
    public let n: Int
    /// The counted work of a run; nil where it is not known.
    public let flops: Int?
    /// `skippedTime` or `skippedMemory`.
    public let status: Status
  }

  public let label: CurveLabel
  /// The measured sizes, rising.
  public let cells: [Cell]
  /// The skipped sizes, rising.
  public let skipped: [SkippedCell]

  /// The power law through the measured medians; nil for fewer than three sizes, which cannot show
  /// whether there is one.
  public var law: PowerLawFit? {
    cells.count < 3 ? nil : PowerLawFit(cells.map { (Double($0.n), $0.seconds) })
  }

  /// The curve of a series of rows.
  init(_ series: PlotRows.Series, in rows: PlotRows, samples: SampleTimes = SampleTimes([])) {
    label = rows.curveLabel(series)
    var sizes: Set<Int> = []
    cells = series.measured.compactMap { row in
      guard let median = row.time.median, median > 0, median.isFinite,
        sizes.insert(row.n).inserted
      else { return nil }
      return Cell(
        n: row.n, seconds: median, status: row.status, flops: row.work.flops,
        sampleCount: max(1, row.time.samples), ratios: samples.ratios(of: row, median: median))
    }
    skipped = series.missing.compactMap { row in
      switch row.status {
      case .skippedTime, .skippedMemory:
        SkippedCell(n: row.n, flops: row.work.flops, status: row.status)
      case .ok, .lowSamples, .noisy, .timeout, .error, .wrong, .interrupted: nil
      }
    }
  }

  /// The curves of a sweep in legend order.
  ///
  /// - Parameters:
  ///   - rows: the rows of `results.csv`; of a cell that ran twice the later one counts.
  ///   - samples: the rows of `samples.csv`, in file order.
  public static func curves(rows: [ResultRow], samples: [SampleRow]) -> [ScalingCurve] {
    let rows = PlotRows(rows)
    let times = SampleTimes(samples)
    return rows.series.map { ScalingCurve($0, in: rows, samples: times) }
  }
}

/// The raw times of a sweep by cell.
struct SampleTimes {
  private struct Cell: Hashable {
    let runID: String
    let cellID: String
  }

  private let times: [Cell: [Double]]

  /// Sorts the rows of `samples.csv`, which must be in file order.
  init(_ samples: [SampleRow]) {
    var times: [Cell: [Double]] = [:]
    for sample in samples {
      times[Cell(runID: sample.runID, cellID: sample.cellID), default: []].append(sample.time)
    }
    self.times = times
  }

  /// The samples that a row rests on, over their median and rising.
  ///
  /// A cell that was interrupted and run again has the samples of both; the row is about the last
  /// ones. Samples that do not give the row's median are some other row's: then there are none.
  func ratios(of row: ResultRow, median: Double) -> [Double] {
    let all = times[Cell(runID: row.runID, cellID: row.cellID)] ?? []
    let own = Array(all.suffix(row.time.samples))
    guard own.count == row.time.samples, own.allSatisfy({ $0 > 0 }),
      let found = SampleSummary(own)?.median, abs(found - median) <= 1e-9 * median
    else { return [] }
    return own.map { $0 / median }.sorted()
  }
}
