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
    let field = detached(field)
    let scalars = field.unicodeScalars
    let isSpecial = scalars.contains { $0 == "," || $0 == "\"" || Character($0).isNewline }
    let isPadded =
      scalars.first?.properties.isWhitespace == true
      || scalars.last?.properties.isWhitespace == true
    guard isSpecial || isPadded else { return field }
    return "\"" + field.replacing("\"", with: "\"\"") + "\""
  }

  /// Sets a combining mark that has no letter to stand on upon a dotted circle, as Unicode shows
  /// it (section 5.13). On a comma or a quote it would make one character of both, and readers
  /// that go by characters would lose the field's end.
  private static func detached(_ field: String) -> String {
    var text = ""
    for character in "," + field {
      let scalars = character.unicodeScalars
      if let base = scalars.first, base == "," || base == "\"", scalars.count > 1 {
        text.unicodeScalars.append(base)
        text += "\u{25CC}"
        text.unicodeScalars.append(contentsOf: scalars.dropFirst())
      } else {
        text.append(character)
      }
    }
    return String(text.dropFirst())
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
