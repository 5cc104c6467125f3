import Choosing
import Measuring
import Records
import Statistics
import Units

/// What a sweep left in its folder, as far as it can be read.
///
/// Only the results must be there. A sweep that was killed early has no complete description, and
/// samples may be lost: what is missing is said, not guessed.
public struct SweepFolder: Sendable {
  /// One row a cell; of a cell that ran twice the later one. `wrong` also where only its error says so.
  public let rows: [ResultRow]
  /// How the run was made; nil where that cannot be read.
  public let metadata: RunMetadata?
  /// How curves grow, where one overtakes another and what was predicted. Derived again, so that
  /// the page never shows older files than its rows.
  public let scaling: ScalingAnalysis
  /// What could not be read or was passed over, one sentence each.
  public let notes: [String]

  /// Reads a folder.
  ///
  /// - Throws: `RecordError` when `results.csv` cannot be read or is no results file.
  public init(reading directory: String) throws(RecordError) {
    let results = try RunDirectory.readResults(in: directory)
    var notes = results.notes
    do {
      metadata = try RunDirectory.readMetadata(in: directory)
    } catch {
      metadata = nil
      notes.append("no description of the run: \(error)")
    }
    rows = Self.latest(results.rows)
    var samples: [SampleRow] = []
    do {
      let file = try RunDirectory.readSamples(in: directory)
      notes += file.notes
      samples = file.rows
    } catch {
      notes.append("exponents and crossovers without intervals: \(error)")
    }
    scaling = ScalingAnalysis(rows: results.rows, samples: samples)
    self.notes = notes
  }

  /// One row a cell, smallest n first, in the order of legends.
  private static func latest(_ rows: [ResultRow]) -> [ResultRow] {
    var byCell: [String: ResultRow] = [:]
    for row in rows { byCell[row.cellID] = row.judgedByError }
    return byCell.values.sorted { left, right in
      (left.n, ClassHeading(left.strategy.classification).order, left.strategy.name, left.cellID)
        < (
          right.n, ClassHeading(right.strategy.classification).order, right.strategy.name,
          right.cellID
        )
    }
  }
}
