import Attention
import AttentionBench
import Foundation
import Testing

@Suite("Mask drawings")
struct MaskGridTests {
  private func pattern(
    _ strategy: String, queries: Int, keys: Int? = nil, offset: Int? = nil, causal: Bool = true
  ) throws -> any KeyPattern {
    let keys = keys ?? queries
    return try StrategyRegistry.standard.strategy(strategy).pattern(
      for: MaskGeometry(
        queryLength: queries, keyLength: keys, offset: offset ?? keys - queries, causal: causal))
  }

  static let patterns = [
    "flash", "window(20)", "window(7, sinks: 4)", "window(left: 3, right: 11)",
    "window(9, global: 3)", "strided(8)", "strided(13)", "fixed(16, 3)",
  ]

  @Test("A cell's share is the share of its pairs that are kept, counted", arguments: patterns)
  func shares(strategy: String) throws {
    for (queries, keys, offset, causal) in [
      (100, 100, 0, true), (100, 100, 0, false), (37, 91, 54, true), (91, 37, -54, true),
      (60, 60, -7, true), (50, 64, 40, false), (1, 300, 299, true),
    ] {
      let pattern = try pattern(
        strategy, queries: queries, keys: keys, offset: offset, causal: causal)
      let grid = MaskGrid(pattern, maximumRows: 11, maximumColumns: 13)
      for row in 0..<grid.rowCount {
        let rows = row * queries / grid.rowCount..<(row + 1) * queries / grid.rowCount
        for column in 0..<grid.columnCount {
          let columns =
            column * keys / grid.columnCount..<(column + 1) * keys / grid.columnCount
          let seen = rows.reduce(0) { sum, query in
            sum + columns.count { pattern.includes(position: query + offset, key: $0) }
          }
          let share = Float(seen) / Float(rows.count * columns.count)
          #expect(grid.share(row: row, column: column) == share, "\(row), \(column)")
        }
      }
      #expect(grid.pairs == pattern.pairs)
    }
  }

  /// The picture's rectangles as (x, y, width, opacity), without those of the frame and the legend.
  private func rectangles(_ svg: String) -> [(x: Int, y: Int, width: Int, opacity: Double)] {
    let cells = /<rect x="(\d+)" y="(\d+)" width="(\d+)" height="1"(?: fill-opacity="([\d.]+)")?\/>/
    return svg.matches(of: cells).compactMap { match in
      guard let x = Int(match.1), let y = Int(match.2), let width = Int(match.3) else { return nil }
      return (x, y, width, match.4.flatMap { Double($0) } ?? 1)
    }
  }

  @Test("The ink of a picture is the share that it states")
  func ink() throws {
    // Cells of 4 x 4 pairs, all of them in whole sixteenths, so that no shade is rounded.
    let grid = MaskGrid(
      try pattern("window(40, sinks: 4)", queries: 256), maximumRows: 64, maximumColumns: 64)
    let ink = rectangles(grid.svg(title: "")).reduce(0) { $0 + Double($1.width) * $1.opacity }
    let share = Double(grid.pairs) / Double(256 * 256)
    #expect(abs(ink / Double(64 * 64) - share) < 1e-6)
    #expect(grid.summary.contains("\(grid.pairs) of 65536 pairs"))
  }

  @Test("The frame covers no cell: sinks in the first column stay in sight")
  func frame() throws {
    let grid = MaskGrid(
      try pattern("window(128, sinks: 4)", queries: 4096), maximumRows: 512, maximumColumns: 512)
    let svg = grid.svg(title: "")
    // Four of the eight keys of the first column, far from the diagonal.
    let first = rectangles(svg).filter { $0.y > 400 && $0.x == 0 }
    #expect(first.count == 111 && first.allSatisfy { $0.width == 1 && $0.opacity == 0.5 })
    let place = try #require(svg.firstMatch(of: /translate\((\d+) (\d+)\) scale\((\d+)\)/))
    let (left, top, scale) = try (
      #require(Int(place.1)), #require(Int(place.2)), #require(Int(place.3))
    )
    #expect(scale >= 2, "a cell of one pixel is overlooked")
    let frame = try #require(
      svg.firstMatch(
        of: /<rect x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)" fill="none"/))
    let (x, y) = try (#require(Int(frame.1)), #require(Int(frame.2)))
    let (width, height) = try (#require(Int(frame.3)), #require(Int(frame.4)))
    // Its line is one pixel wide, half of it inwards.
    #expect(x + 1 < left && y + 1 < top)
    #expect(x + width - 1 > left + 512 * scale && y + height - 1 > top + 512 * scale)
  }

  @Test("The legend says what a shade is; few pairs of many still show")
  func legend() throws {
    let grid = MaskGrid(
      try pattern("strided(512)", queries: 16384), maximumRows: 64, maximumColumns: 64)
    let svg = grid.svg(title: "")
    #expect(svg.contains("of the pairs of a cell are kept (256 queries x 256 keys)"))
    for step in ["0%", "25%", "50%", "75%", "100%"] { #expect(svg.contains(">\(step)</text>")) }
    let far = rectangles(svg).filter { $0.y == 63 }
    #expect((far.map(\.opacity).min() ?? 0) == 0.0625, "a share of 0.002 is drawn as 1/16")
    let exact = MaskGrid(try pattern("flash", queries: 8), maximumRows: 8, maximumColumns: 8)
    #expect(exact.svg(title: "").contains("one cell: one query and one key"))
    #expect(!exact.svg(title: "").contains("25%"))
  }

  @Test("All heads of a plan beside each other, each with its strategy and its share")
  func heads() throws {
    let names = ["window(4)", "flash", "window(4)", "strided(5)"]
    let problem = try AttentionProblem(
      AttentionShape(heads: 4, queryLength: 20, headDim: 1), visibility: Visibility(causal: true))
    let masks = HeadMasks(
      try names.map { try StrategyRegistry.standard.strategy($0) }, on: problem, maximumRows: 10,
      maximumColumns: 20)
    #expect(masks.heads.map(\.strategy) == names)
    #expect(masks.heads[1].grid.visibleShare == 1)
    // 74 of 210 pairs: 4 for each of 20 queries but the first three.
    #expect(masks.heads[0].grid.pairs == 74)
    let text = masks.text(columns: 80)
    #expect(text[0] == "head 0 35.2%          head 1 100.0%         head 2 35.2%")
    #expect(text[1].hasPrefix("window(4)             flash"))
    #expect(text[2].hasPrefix("#+."), "both of the first two queries see key 0, one key 1")
    #expect(text.count == 2 * 12 + 1)
    let page = try PageReader.read(masks.svg(title: "a & b"))
    let labels = page.all("text").map(\.text)
    #expect(labels.first == "a & b")
    for (head, name) in names.enumerated() {
      #expect(labels.contains { $0.hasPrefix("head \(head) ") } && labels.contains(name))
    }
    #expect(page.all("g").count { $0.attributes["transform"] != nil } == 4)
  }
}
