import Attention
import Statistics
import Units

/// One raw sample: a row of `samples.csv`.
///
/// A sample belongs to the row of `results.csv` with the same run and cell. A cell that was cut
/// short may have samples without a row, and more samples after a resume, with higher indices: the
/// samples of a row that counts n of them are the last n of its cell.
public struct SampleRow: Equatable, Sendable {
  /// The run that took the sample.
  public var runID: String
  public var cellID: String
  /// Its place among the samples of the cell, from 0.
  public var index: Int
  /// The interleaved round it was taken in, from 0.
  public var round: Int
  /// Wall time in seconds.
  public var time: Double
  /// Processor time of all threads together, in seconds.
  public var cpuTime: Double
  /// When it began, in seconds since the run began: shows drift.
  public var startedAt: Double
  /// Whether it lies beyond the `OutlierFences` of its cell's samples: a label, it counts all the
  /// same. Nil in files of versions that did not say.
  public var isOutlier: Bool?

  /// Records a sample.
  public init(
    runID: String, cellID: String, index: Int, round: Int, time: Double, cpuTime: Double,
    startedAt: Double, isOutlier: Bool? = nil
  ) {
    self.runID = runID
    self.cellID = cellID
    self.index = index
    self.round = round
    self.time = time
    self.cpuTime = cpuTime
    self.startedAt = startedAt
    self.isOutlier = isOutlier
  }
}

extension SampleRow: CSVRecord {
  /// The columns of `samples.csv`.
  public static var header: [String] {
    [
      "run_id", "cell_id", "sample_index", "round", "time_s", "cpu_time_s", "started_at_s",
      "outlier",
    ]
  }

  /// Columns that files of earlier versions lack.
  public static var laterColumns: Set<String> { ["outlier"] }

  /// The cells in the order of `header`.
  public var fields: [String] {
    [
      runID, cellID, index.csvText, round.csvText, time.csvText, cpuTime.csvText,
      startedAt.csvText, isOutlier.csvText,
    ]
  }

  /// A sample from its cells by column name.
  ///
  /// - Throws: `CSVCellError` for the first cell that holds something else than its column says.
  public init(cells: [String: String]) throws(CSVCellError) {
    func value<Field: CSVField>(_ column: String) throws(CSVCellError) -> Field {
      let text = cells[column] ?? ""
      guard let field = Field(csvText: text) else {
        throw CSVCellError(column: column, text: text, expectation: Field.csvExpectation)
      }
      return field
    }
    runID = try value("run_id")
    cellID = try value("cell_id")
    index = try value("sample_index")
    round = try value("round")
    time = try value("time_s")
    cpuTime = try value("cpu_time_s")
    startedAt = try value("started_at_s")
    isOutlier = try value("outlier")
  }
}
