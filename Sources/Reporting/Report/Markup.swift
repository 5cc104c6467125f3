import Choosing
import Measuring
import Records
import Statistics
import Units

/// A part of a page or a picture, in XML syntax.
///
/// The only way from a string to markup is `text`, which escapes it, and names of elements and
/// attributes are literals of the program: what a results file says can never become markup.
struct Markup {
  private(set) var source: String

  private init(source: String) { self.source = source }

  /// Characters, none of which is markup.
  static func text(_ text: String) -> Markup { Markup(source: escaped(text)) }

  /// A style sheet of the program's own.
  static func style(_ sheet: StaticString) -> Markup {
    Markup(source: "<style>\n\(sheet)\n</style>")
  }

  /// Elements that are closed where they open, in HTML and in pictures, unless they hold something, as
  /// a cell of a map holds its tip; every other one has a closing tag.
  private static let voidElements = ["br", "meta", "rect"]

  /// An element with its attributes.
  static func element(
    _ name: StaticString, _ attributes: KeyValuePairs<StaticString, String> = [:],
    _ content: [Markup] = []
  ) -> Markup {
    let list = attributes.map { " \($0.key)=\"\(escaped($0.value))\"" }.joined()
    if content.isEmpty, voidElements.contains("\(name)") {
      return Markup(source: "<\(name)\(list)/>")
    }
    let inner = content.map(\.source).joined()
    return Markup(source: "<\(name)\(list)>\(inner)</\(name)>")
  }

  /// An element with text in it.
  static func element(
    _ name: StaticString, _ attributes: KeyValuePairs<StaticString, String>, _ text: String
  ) -> Markup {
    element(name, attributes, [.text(text)])
  }

  /// An element with nothing but text.
  static func element(_ name: StaticString, _ text: String) -> Markup {
    element(name, [:], [.text(text)])
  }

  static func document(head: [Markup], body: [Markup]) -> String {
    let page = element(
      "html", ["lang": "en", "xmlns": "http://www.w3.org/1999/xhtml"],
      [
        .text("\n"), element("head", [:], head.flatMap { [$0, .text("\n")] }), .text("\n"),
        element("body", [:], body.flatMap { [.text("\n"), $0] }), .text("\n"),
      ])
    return "<!DOCTYPE html>\n\(page.source)\n"
  }

  /// Control characters, which no page may hold, become U+FFFD.
  private static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      case "\t", "\n": result.unicodeScalars.append(scalar)
      case "\u{FFFE}", "\u{FFFF}": result += "\u{FFFD}"
      default:
        let isControl = scalar.properties.generalCategory == .control
        result.unicodeScalars.append(isControl ? "\u{FFFD}" : scalar)
      }
    }
    return result
  }
}
