import AttentionBench
import SystemPackage
import Testing

/// A disk of `capacity` bytes that takes at most `chunk` of them in one write.
private struct SmallDisk: ByteSink {
  let capacity: Int
  var chunk = Int.max
  var failsToSynchronize = false
  let contents: Contents

  final class Contents {
    var bytes: [UInt8] = []
    var writes = 0
    var text: String { String(decoding: bytes, as: UTF8.self) }
  }

  mutating func write(_ span: RawSpan) throws(Errno) -> Int {
    let count = min(span.byteCount, chunk, capacity - contents.bytes.count)
    guard count > 0 else { throw .noSpace }
    contents.writes += 1
    for offset in 0..<count {
      contents.bytes.append(span.unsafeLoad(fromByteOffset: offset, as: UInt8.self))
    }
    return count
  }

  mutating func synchronize() throws(Errno) {
    if failsToSynchronize { throw .ioError }
  }

  mutating func truncate(to length: Int) throws(Errno) {
    contents.bytes.removeLast(contents.bytes.count - length)
  }
}

@Suite("Appending rows")
struct RowAppenderTests {
  private static let header = SampleRow.header.joined(separator: ",") + "\n"
  private static let row = SampleRow.taken(0).fields.joined(separator: ",") + "\n"

  @Test("The header comes first, and a batch of rows is one write")
  func batch() throws {
    let contents = SmallDisk.Contents()
    var appender = try RowAppender<SampleRow, SmallDisk>(
      sink: SmallDisk(capacity: .max, contents: contents), path: "samples.csv")
    #expect(contents.text == Self.header)
    try appender.append([.taken(0), .taken(0)])
    try appender.append([])
    #expect(contents.text == Self.header + Self.row + Self.row)
    #expect(contents.writes == 2)
  }

  @Test("A write that takes only a part is continued")
  func partialWrites() throws {
    let contents = SmallDisk.Contents()
    var appender = try RowAppender<SampleRow, SmallDisk>(
      sink: SmallDisk(capacity: .max, chunk: 7, contents: contents), path: "samples.csv")
    try appender.append([.taken(0)])
    #expect(contents.text == Self.header + Self.row)
  }

  @Test("A disk that fills up in the middle of a row keeps the rows before it whole")
  func diskFull() throws {
    let contents = SmallDisk.Contents()
    let capacity = Self.header.utf8.count + Self.row.utf8.count + 10
    var appender = try RowAppender<SampleRow, SmallDisk>(
      sink: SmallDisk(capacity: capacity, contents: contents), path: "samples.csv")
    try appender.append([.taken(0)])
    var message = ""
    do throws(RecordError) {
      try appender.append([.taken(0)])
    } catch {
      message = error.description
    }
    #expect(
      message == "cannot write to samples.csv: No space left on device; "
        + "make room; a sweep goes on with --resume, its finished rows are kept")
    #expect(contents.text == Self.header + Self.row)
  }

  @Test("A disk without room for the header is an error at once")
  func diskFullAtStart() {
    #expect(
      throws: RecordError.system(operation: "write to", path: "samples.csv", errno: .noSpace)
    ) {
      _ = try RowAppender<SampleRow, SmallDisk>(
        sink: SmallDisk(capacity: 3, contents: .init()), path: "samples.csv")
    }
  }

  @Test("A row that did not reach the disk is reported")
  func synchronizeFails() {
    #expect(
      throws: RecordError.system(operation: "write to", path: "samples.csv", errno: .ioError)
    ) {
      _ = try RowAppender<SampleRow, SmallDisk>(
        sink: SmallDisk(capacity: .max, failsToSynchronize: true, contents: .init()),
        path: "samples.csv")
    }
  }

  @Test("The system's own full device")
  func fullDevice() throws {
    let sink = try FileSink(path: "/dev/full", mustBeNew: false)
    var failure: RecordError?
    do throws(RecordError) {
      _ = try RowAppender<SampleRow, FileSink>(sink: sink, path: "/dev/full")
    } catch {
      failure = error
    }
    #expect(failure == .system(operation: "write to", path: "/dev/full", errno: .noSpace))
  }
}
