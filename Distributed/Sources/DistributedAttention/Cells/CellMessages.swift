import Attention
import AttentionBench

/// What rank 0 gives a rank to measure.
package struct CellDeal: Codable, Equatable, Sendable {
  /// The cell's place in the plan; nil where there is nothing left.
  package var cell: Int?
  /// Rows of smaller cells of the same curve, as fields of `results.csv`: what its time is predicted from.
  package var known: [[String]] = []
  /// Samples of the cell that earlier sittings kept.
  package var samples = 0
}

/// What a rank gives back of a cell; nothing yet where it is about to begin.
package struct CellReport: Codable, Sendable {
  /// Fields of `results.csv`.
  package var rows: [[String]] = []
  /// Fields of `samples.csv`.
  package var samples: [[String]] = []
  package var ceilings: [MachineCeiling] = []

  package init() {}

  /// What a sweep of one cell kept.
  package init(rows: [ResultRow], samples: [SampleRow], ceilings: [MachineCeiling]) {
    self.rows = rows.map(\.fields)
    self.samples = samples.map(\.fields)
    self.ceilings = ceilings
  }
}

extension CSVRecord {
  /// A record from its fields in the order of the header.
  ///
  /// - Throws: `CSVCellError` as `init(cells:)`.
  package init(fields: [String]) throws(CSVCellError) {
    try self.init(
      cells: Dictionary(zip(Self.header, fields), uniquingKeysWith: { first, _ in first }))
  }
}
