import Choosing
import Measuring
import Records
import Statistics
import Units

/// Text that came from a file, made harmless for gnuplot.
enum PlotText {
  /// A single-quoted string, where gnuplot expands neither escapes nor backquotes. A quote in the
  /// text becomes an apostrophe: gnuplot 5.4 misreads a doubled one at the start of a string.
  static func quoted(_ text: String) -> String {
    let printable = text.unicodeScalars.map { scalar in
      scalar.properties.generalCategory == .control ? " " : String(scalar)
    }
    return "'" + printable.joined().replacing("'", with: "\u{2019}") + "'"
  }

  /// Takes the meaning out of the characters that mark up enhanced text.
  static func plain(_ text: String) -> String {
    text.map { "\\^_{}@&~".contains($0) ? "\\\($0)" : String($0) }.joined()
  }

  /// Sentences joined into lines no wider than the picture. One that is wider by itself is broken
  /// between words.
  static func wrapped(_ sentences: [String], columns: Int) -> [String] {
    var lines: [String] = []
    for sentence in sentences {
      if let last = lines.last, last.count + sentence.count + 3 <= columns {
        lines[lines.count - 1] = last + "  ·  " + sentence
        continue
      }
      lines.append("")
      for word in sentence.split(separator: " ") {
        let last = lines[lines.count - 1]
        if last.isEmpty {
          lines[lines.count - 1] = String(word)
        } else if last.count + word.count + 1 <= columns {
          lines[lines.count - 1] = "\(last) \(word)"
        } else {
          lines.append(String(word))
        }
      }
    }
    return lines
  }
}
