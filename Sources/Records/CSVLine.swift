import Attention
import Statistics
import Units

/// The text of CSV records (RFC 4180, with `\n` at the end of each).
package enum CSVLine {
  /// One record with its line end.
  package static func text(_ fields: [String]) -> String {
    fields.map(quoted).joined(separator: ",") + "\n"
  }

  /// Quotes a field that a reader could split, trim or misread otherwise.
  static func quoted(_ field: String) -> String {
    // Scalars, not characters: a mark that follows a quote makes one character of both.
    let scalars = field.unicodeScalars
    let isSpecial = scalars.contains { $0 == "," || $0 == "\"" || Character($0).isNewline }
    let isPadded =
      scalars.first?.properties.isWhitespace == true
      || scalars.last?.properties.isWhitespace == true
    guard isSpecial || isPadded else { return field }
    let doubled = scalars.flatMap { $0 == "\"" ? [$0, $0] : [$0] }
    return "\"\(String(String.UnicodeScalarView(doubled)))\""
  }

  /// The fields of the records that `bytes` holds, read byte by byte as they were written; blank lines
  /// are passed over.
  ///
  /// - Parameter path: names the file in an error.
  /// - Throws: `RecordError` for a quote within a field that has none around it, or text behind the
  ///   quote that ends one.
  static func records(_ bytes: ArraySlice<UInt8>, path: String) throws(RecordError) -> [[String]] {
    enum State { case plain, quoted, closed }
    var (records, fields, field) = ([[String]](), [String](), [UInt8]())
    var state = State.plain
    for byte in bytes {
      switch (state, byte) {
      case (.quoted, UInt8(ascii: "\"")): state = .closed
      case (.closed, UInt8(ascii: "\"")), (.quoted, _):
        field.append(byte)
        state = .quoted
      case (_, UInt8(ascii: ",")), (_, UInt8(ascii: "\n")):
        if byte != UInt8(ascii: ","), state == .plain, field.last == UInt8(ascii: "\r") {
          field.removeLast()
        }
        fields.append(String(decoding: field, as: UTF8.self))
        field.removeAll(keepingCapacity: true)
        state = .plain
        if byte == UInt8(ascii: ",") { continue }
        if fields != [""] { records.append(fields) }
        fields.removeAll(keepingCapacity: true)
      case (.plain, UInt8(ascii: "\"")) where field.isEmpty: state = .quoted
      case (.closed, UInt8(ascii: "\r")): continue
      case (.plain, UInt8(ascii: "\"")), (.closed, _):
        throw .malformedFile(
          path: path, problem: "record \(records.count + 1) has a quote in the middle of a field")
      case (.plain, _): field.append(byte)
      }
    }
    return records
  }

  /// How many of `bytes` make up whole records: everything up to the last line end that stands
  /// outside quotes. What follows was torn off when the writer was killed.
  static func completeLength(_ bytes: [UInt8]) -> Int {
    var complete = 0
    var isQuoted = false
    for (index, byte) in bytes.enumerated() {
      if byte == UInt8(ascii: "\"") {
        isQuoted.toggle()
      } else if byte == UInt8(ascii: "\n") && !isQuoted {
        complete = index + 1
      }
    }
    return complete
  }
}
