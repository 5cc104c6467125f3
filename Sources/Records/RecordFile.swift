import Attention
import Statistics
import Units

/// The rows of a CSV file and what had to be overlooked to read them.
public struct RecordFile<Record: CSVRecord>: Sendable {
  /// The whole rows, in file order.
  public let rows: [Record]
  /// What the reader passed over, one sentence each; empty for a clean file.
  public let notes: [String]
  /// The bytes that whole rows take up, the header included: a resume appends here.
  let length: Int
  /// The names in the header, in file order; empty for a file without a whole header line.
  let header: [String]

  /// Reads a file by column name. Columns may stand in any order and unknown ones are passed over.
  ///
  /// - Throws: `RecordError` when the file cannot be read, a column is missing or a cell does not
  ///   fit its column.
  public init(reading path: String) throws(RecordError) {
    let bytes = try FileBytes.read(path)
    try self.init(bytes: bytes, path: path)
  }

  /// Reads a file that need not be there yet: then it has no rows.
  init(ifPresent path: String) throws(RecordError) {
    do {
      try self.init(reading: path)
    } catch .system(_, _, .noSuchFileOrDirectory) {
      try self.init(bytes: [], path: path)
    }
  }

  private init(bytes: [UInt8], path: String) throws(RecordError) {
    length = CSVLine.completeLength(bytes)
    let torn = bytes.count - length
    notes =
      torn == 0 ? [] : ["\(path): ignored a torn last line of \(torn) bytes (an interrupted write)"]
    guard length > 0 else {
      rows = []
      header = []
      return
    }
    let records = try CSVLine.records(bytes[..<length], path: path)
    let names = records.first ?? []
    header = names
    let needed = Record.header.filter { !Record.laterColumns.contains($0) }
    for column in needed where !names.contains(column) {
      throw .missingColumn(path: path, column: column)
    }
    var rows: [Record] = []
    rows.reserveCapacity(records.count)
    for (index, fields) in records.enumerated().dropFirst() {
      // A row that ends early has empty cells at its end; the first of two columns of a name counts.
      let padded = fields + repeatElement("", count: max(0, names.count - fields.count))
      do {
        rows.append(
          try Record(
            cells: Dictionary(zip(names, padded), uniquingKeysWith: { first, _ in first })))
      } catch {
        throw .malformedCell(path: path, row: index, error: error)
      }
    }
    self.rows = rows
  }
}

extension RecordFile where Record == ResultRow {
  /// Reads `results.csv` and refuses rows of a later version, whose columns may mean something
  /// else.
  ///
  /// - Throws: `RecordError`, as the initialiser does, and `newerSchema`.
  public static func results(at path: String) throws(RecordError) -> RecordFile {
    try RecordFile(reading: path).refusingLaterVersions(path)
  }

  /// The same for a file that need not be there yet.
  static func results(ifPresent path: String) throws(RecordError) -> RecordFile {
    try RecordFile(ifPresent: path).refusingLaterVersions(path)
  }

  private func refusingLaterVersions(_ path: String) throws(RecordError) -> RecordFile {
    let newest = rows.map(\.schemaVersion).max() ?? ResultRow.currentSchemaVersion
    guard newest <= ResultRow.currentSchemaVersion else {
      throw .newerSchema(path: path, version: newest)
    }
    return self
  }
}
