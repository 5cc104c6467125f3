import AttentionBench
import Glibc

/// The columns of a CSV file.
protocol CSVColumns: Sendable {
  static var names: [String] { get }
}

/// A row of a CSV file by the names of its columns, for the writer of the core's records.
struct TextRow<Columns: CSVColumns>: CSVRecord {
  /// Texts by column; what is missing is empty.
  let cells: [String: String]

  init(cells: [String: String]) { self.cells = cells }

  static var header: [String] { Columns.names }
  var fields: [String] { Columns.names.map { cells[$0] ?? "" } }
}

/// What an appender writes, in memory.
struct MemorySink: ByteSink {
  /// Shared with whoever reads the bytes in the end.
  final class Memory {
    fileprivate(set) var bytes: [UInt8] = []
  }

  private let memory: Memory

  init(_ memory: Memory) { self.memory = memory }

  mutating func write(_ bytes: RawSpan) -> Int {
    bytes.withUnsafeBytes { memory.bytes += $0 }
    return bytes.byteCount
  }

  mutating func synchronize() {}
  mutating func truncate(to length: Int) { memory.bytes.removeLast(memory.bytes.count - length) }
}

/// A CSV file as bytes.
///
/// - Throws: `RecordError` as `RowAppender`.
func csv<Columns>(_ rows: [TextRow<Columns>]) throws(RecordError) -> [UInt8] {
  let memory = MemorySink.Memory()
  var appender = try RowAppender<TextRow<Columns>, MemorySink>(
    sink: MemorySink(memory), path: "CSV")
  try appender.append(rows)
  return memory.bytes
}

/// A CSV file that grows row by row, each on disk at once.
struct GrowingCSV<Columns: CSVColumns>: ~Copyable {
  private var appender: RowAppender<TextRow<Columns>, FileSink>

  /// Starts a file.
  ///
  /// - Throws: `PlanError` naming `--output` where there is one already, whose rows may have taken hours, or
  ///   it cannot be made; `RecordError` when nothing can be written.
  init(path: String) throws {
    guard access(path, F_OK) != 0 else {
      throw PlanError(
        argument: "--output", value: path, rule: "is there already",
        fix: "choose another file, or remove it")
    }
    let sink: FileSink
    do {
      sink = try FileSink(path: path, mustBeNew: true)
    } catch {
      throw PlanError(
        argument: "--output", value: path, rule: "cannot be made (\(error))",
        fix: "name a file in a directory that exists and may be written")
    }
    appender = try RowAppender(sink: sink, path: path)
  }

  /// Adds a row.
  ///
  /// - Throws: `RecordError`; the rows before stay whole.
  mutating func append(_ row: TextRow<Columns>) throws(RecordError) {
    try appender.append([row])
  }
}
