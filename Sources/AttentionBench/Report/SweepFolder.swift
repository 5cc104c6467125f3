/// What a sweep left in its folder, as far as it can be read.
///
/// Only the results must be there. A sweep that was killed early has no complete description, and
/// crossings are derived later: what is missing is said, not guessed.
public struct SweepFolder: Sendable {
  /// One row a cell; of a cell that ran twice the later one.
  public let rows: [ResultRow]
  /// How the run was made; nil where that cannot be read.
  public let metadata: RunMetadata?
  /// Where one strategy overtakes another, from `crossovers.csv` or else from the rows.
  public let crossings: [Crossing]
  /// What could not be read or was passed over, one sentence each.
  public let notes: [String]

  /// Reads a folder.
  ///
  /// - Throws: `RecordError` when `results.csv` cannot be read or is no results file.
  public init(reading directory: String) throws(RecordError) {
    let results = try RunDirectory.readResults(in: directory)
    var notes = results.notes
    let layout = RunDirectory.Layout(directory)
    do {
      metadata = try RunDirectory.readMetadata(in: directory)
    } catch {
      metadata = nil
      notes.append("no description of the run: \(error)")
    }
    rows = Self.latest(results.rows)
    var crossings = Crossing.between(rows)
    do {
      let file = try RecordFile<Crossing>(ifPresent: layout.directory + "/crossovers.csv")
      notes += file.notes
      if !file.header.isEmpty { crossings = file.rows }
    } catch {
      notes.append("crossings taken from the rows alone: \(error)")
    }
    self.crossings = crossings
    self.notes = notes
  }

  /// One row a cell, smallest n first, in the order of legends.
  private static func latest(_ rows: [ResultRow]) -> [ResultRow] {
    var byCell: [String: ResultRow] = [:]
    for row in rows { byCell[row.cellID] = row }
    return byCell.values.sorted { left, right in
      (left.n, ClassHeading(left.strategy.classification).order, left.strategy.name, left.cellID)
        < (
          right.n, ClassHeading(right.strategy.classification).order, right.strategy.name,
          right.cellID
        )
    }
  }
}
