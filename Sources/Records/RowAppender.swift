import Attention
import Foundation
import Statistics
import SystemPackage
import TensorFiles
import Units

/// Appends records to a CSV file so that whatever happens, the file keeps every finished row.
///
/// One append is one `write(2)` of whole lines and one `fsync(2)`. A process killed in between
/// leaves at most one torn last line, which readers ignore and a resume cuts off. A write that
/// fails half-way, on a full disk, is cut off at once.
public struct RowAppender<Record: CSVRecord, Sink: ByteSink & ~Copyable>: ~Copyable {
  private var sink: Sink
  private let path: String
  private var length: Int

  /// Continues a file of `length` bytes of whole rows; writes the header when that is 0.
  ///
  /// - Parameter path: the name for messages.
  /// - Throws: `RecordError.system` when the header cannot be written.
  public init(sink: consuming Sink, path: String, length: Int = 0) throws(RecordError) {
    self.sink = sink
    self.path = path
    self.length = length
    if length == 0 { try append(text: CSVLine.text(Record.header)) }
  }

  /// Appends records in one write.
  ///
  /// - Throws: `RecordError.system`; the file then ends with the last whole row again, unless
  ///   the system refuses that as well.
  public mutating func append(_ records: [Record]) throws(RecordError) {
    guard !records.isEmpty else { return }
    try append(text: records.map { CSVLine.text($0.fields) }.joined())
  }

  private mutating func append(text: String) throws(RecordError) {
    let bytes = Array(text.utf8)
    do {
      try sink.writeAll(bytes)
      try sink.synchronize()
    } catch {
      // The first failure is the one to report; a torn tail is tolerated by readers anyway.
      try? sink.truncate(to: length)
      throw .system(operation: "write to", path: path, errno: error)
    }
    length += bytes.count
  }
}

extension RowAppender where Sink == FileSink {
  /// Starts a file.
  ///
  /// - Throws: `RecordError.resultsExist` when it is there already, `.system` when it cannot be
  ///   created.
  init(creating path: String) throws(RecordError) {
    let sink = try Self.create(path)
    do throws(RecordError) {
      try self.init(sink: sink, path: path)
    } catch {
      unlink(path)
      throw error
    }
  }

  private static func create(_ path: String) throws(RecordError) -> FileSink {
    do throws(Errno) {
      let sink = try FileSink(path: path, mustBeNew: true)
      // Some network file systems do not synchronise directories; the file itself is whole.
      let parent = FilePath(path).removingLastComponent()
      try? HostFileSystem().synchronizeDirectory(parent.isEmpty ? "." : parent)
      return sink
    } catch .fileExists {
      throw .resultsExist(path: path)
    } catch {
      throw .system(operation: "create", path: path, errno: error)
    }
  }

  /// Goes on after the whole rows of `file`, and cuts off what was torn.
  ///
  /// - Throws: `RecordError.columnsDiffer` when the rows of this version would not fit the header.
  init(resuming file: RecordFile<Record>, path: String) throws(RecordError) {
    guard file.length == 0 || file.header == Record.header else {
      throw .columnsDiffer(path: path)
    }
    try self.init(sink: Self.reopen(path, length: file.length), path: path, length: file.length)
  }

  private static func reopen(_ path: String, length: Int) throws(RecordError) -> FileSink {
    do {
      var sink = try FileSink(path: path, mustBeNew: false)
      try sink.truncate(to: length)
      return sink
    } catch {
      throw .system(operation: "open", path: path, errno: error)
    }
  }
}
