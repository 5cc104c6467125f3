import Foundation
import Testing

#if canImport(FoundationXML)
  import FoundationXML
#endif

/// A page as a strict parser sees it.
final class PageReader: NSObject, XMLParserDelegate {
  /// An element.
  final class Node {
    let name: String
    let attributes: [String: String]
    var children: [Node] = []
    /// The characters of the element and of all within it.
    var text = ""

    init(_ name: String, _ attributes: [String: String]) {
      self.name = name
      self.attributes = attributes
    }

    /// This element and all below it.
    var all: [Node] { [self] + children.flatMap(\.all) }

    func all(_ name: String) -> [Node] { all.filter { $0.name == name } }

    func section(_ id: String) throws -> Node {
      try #require(all.first { $0.attributes["id"] == id })
    }
  }

  private var open: [Node] = [Node("", [:])]

  /// Parses a page.
  ///
  /// - Throws: the parser's error for a page that is not well-formed.
  static func read(_ page: String) throws -> Node {
    let reader = PageReader()
    let parser = XMLParser(data: Data(page.utf8))
    parser.delegate = reader
    guard parser.parse(), let root = reader.open.first else {
      throw parser.parserError ?? CocoaError(.fileReadCorruptFile)
    }
    return root
  }

  func parser(
    _ parser: XMLParser, didStartElement name: String, namespaceURI: String?,
    qualifiedName: String?, attributes: [String: String]
  ) {
    let node = Node(name, attributes)
    open.last?.children.append(node)
    open.append(node)
  }

  func parser(
    _ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?
  ) {
    open.removeLast()
  }

  func parser(_ parser: XMLParser, foundCharacters text: String) {
    for node in open { node.text += text }
  }
}
