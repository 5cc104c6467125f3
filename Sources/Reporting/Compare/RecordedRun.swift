import Choosing
import Measuring
import Records
import Statistics
import Units

/// A run as its directory tells it, ready to be compared: one row a cell, and its samples.
public struct RecordedRun: Sendable {
  /// Where it lies.
  public let directory: String
  /// One row a cell, smallest size first. Of a cell that was measured again the later row counts.
  public let rows: [ResultRow]
  /// How the run was made; nil when `meta.json` cannot be read.
  public let metadata: RunMetadata?
  /// What the readers passed over, one sentence each; empty for clean files.
  public let notes: [String]

  private let times: [String: [Double]]

  /// Reads the files of a sweep.
  ///
  /// - Throws: `RecordError` when `results.csv` or `samples.csv` cannot be read. A missing
  ///   `meta.json` is a note: a sweep's figures are complete without it.
  public init(reading directory: String) throws(RecordError) {
    let layout = RunDirectory.Layout(directory)
    let results = try RunDirectory.readResults(in: directory)
    let samples = try RecordFile<SampleRow>(reading: layout.samples)
    var notes = results.notes + samples.notes
    do throws(RecordError) {
      metadata = try RunDirectory.readMetadata(in: directory)
    } catch {
      metadata = nil
      notes.append("machine and inputs of \(directory) are not known: \(error)")
    }
    self.directory = directory
    self.notes = notes
    rows = Self.latest(results.rows)
    times = Dictionary(grouping: samples.rows, by: \.cellID).mapValues { $0.map(\.time) }
  }

  /// The raw samples of a cell in seconds, of all sittings of the run.
  public func times(of row: ResultRow) -> [Double] { times[row.cellID] ?? [] }

  private static func latest(_ rows: [ResultRow]) -> [ResultRow] {
    var latest: [CellKey: ResultRow] = [:]
    for row in rows { latest[CellKey(row)] = row }
    return latest.values.sorted { Self.order($0) < Self.order($1) }
  }

  private static func order(_ row: ResultRow) -> (Int, String, String, Int, String) {
    (row.n, row.strategy.name, row.strategy.parameters, row.placement.threads, row.cellID)
  }
}

/// What makes two rows the same cell: the same work on as many threads. The name alone does not
/// say how many heads there were.
struct CellKey: Hashable {
  let id: String
  let strategy: ResultRow.StrategyLabel
  let shape: ResultRow.Shape
  let threads: Int

  init(_ row: ResultRow) {
    id = row.cellID
    strategy = row.strategy
    shape = row.shape
    threads = row.placement.threads
  }
}
