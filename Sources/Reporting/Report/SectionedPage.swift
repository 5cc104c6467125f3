import Attention

/// The frame that all pages have: a title with what matters most below it, links to the sections, the
/// sections, and who wrote it.
struct SectionedPage {
  let title: String
  let headline: [Markup]
  /// What a link is called, what a heading says, what stands below.
  let sections: [(id: String, name: String, content: [Markup])]

  var html: String {
    let head: [Markup] = [
      .element("meta", ["charset": "utf-8"]),
      .element("meta", ["name": "viewport", "content": "width=device-width, initial-scale=1"]),
      .element("meta", ["name": "color-scheme", "content": "light dark"]),
      .element("title", title), .style(ReportStyle.sheet),
    ]
    let links = sections.map { Markup.element("a", ["href": "#\($0.id)"], $0.name) }
    let header = Markup.element(
      "header", [:], [.element("h1", title)] + headline + [.element("nav", [:], links)])
    let main = Markup.element(
      "main", [:],
      sections.map { id, name, content in
        .element("section", ["id": id], [.element("h2", name)] + content)
      } + [.element("footer", "Written by attnbench \(AttnbenchVersion.current) report.")])
    return Markup.document(head: head, body: [header, main])
  }
}

extension Markup {
  /// A table in a box of its own, which scrolls where the page is too narrow.
  static func table(_ columns: [(title: String, isNumber: Bool)], _ body: [Markup]) -> Markup {
    let head = columns.map { column in
      Markup.element(
        "th", column.isNumber ? ["scope": "col", "class": "num"] : ["scope": "col"], column.title)
    }
    return .element(
      "div", ["class": "table", "tabindex": "0"],
      [
        .element(
          "table", [:],
          [
            .element("thead", [:], [.element("tr", [:], head)]), .element("tbody", [:], body),
          ])
      ])
  }
}
