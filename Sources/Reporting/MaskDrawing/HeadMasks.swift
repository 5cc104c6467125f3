import Attention
import Choosing
import Foundation
import Measuring
import Records
import Statistics
import Units

/// Who sees whom in each head of a plan, as small pictures side by side.
public struct HeadMasks: Sendable {
  /// A head with what its strategy sees.
  public struct Head: Sendable {
    /// The query head, from 0.
    public let number: Int
    /// Its strategy with the parameters.
    public let strategy: String
    public let grid: MaskGrid
  }

  /// In the order of their numbers; all grids have the same sides.
  public let heads: [Head]

  /// Lays a grid over each head's pattern, once for heads that are alike.
  ///
  /// - Parameter strategies: one for each query head.
  /// - Complexity: that of a `MaskGrid` for each different strategy.
  public init(
    _ strategies: [any AttentionStrategy], on problem: AttentionProblem, maximumRows: Int,
    maximumColumns: Int
  ) {
    let geometry = problem.geometry(batch: 0)
    var grids: [String: MaskGrid] = [:]
    heads = strategies.enumerated().map { number, strategy in
      let name = strategy.spec(for: problem)
      let grid =
        grids[name]
        ?? MaskGrid(
          strategy.pattern(for: geometry), maximumRows: maximumRows, maximumColumns: maximumColumns)
      grids[name] = grid
      return Head(number: number, strategy: name, grid: grid)
    }
  }

  /// The mean over the heads of the share of visible pairs that they score.
  public var summary: String {
    let mean = heads.reduce(0) { $0 + $1.grid.visibleShare } / Double(max(heads.count, 1))
    return
      "\(heads.count) heads keep \(CellText.percent(mean)) of the pairs that the mask leaves visible"
  }

  /// `head 3 11.7%`.
  private static func title(_ head: Head) -> String {
    "head \(head.number) \(CellText.percent(head.grid.visibleShare))"
  }

  /// The grids in characters, as many side by side as fit, and what they stand for.
  ///
  /// - Parameter columns: of the terminal.
  public func text(columns: Int) -> [String] {
    guard let first = heads.first else { return [] }
    let names = heads.map { [Self.title($0), $0.strategy] }
    let width = max(first.grid.columnCount, names.joined().map(\.count).max() ?? 0)
    let drawn = zip(heads, names).map { head, names in
      names + head.grid.text.split(separator: "\n").map(String.init)
    }
    return SideBySide.lines(drawn, width: width, columns: columns) + [first.grid.legend]
  }

  /// The grids as one SVG picture.
  public func svg(title: String) -> String {
    guard let first = heads.first?.grid else { return "" }
    let scale = max(2, 112 / max(first.rowCount, first.columnCount))
    let longest = heads.map { 6 * max($0.strategy.count, Self.title($0).count) }.max() ?? 0
    let step = (
      x: max(first.columnCount * scale + 18, longest + 12), y: first.rowCount * scale + 52
    )
    let most = min(heads.count, max(1, 1040 / step.x))
    let rows = (heads.count + most - 1) / most
    let perRow = (heads.count + rows - 1) / rows
    let (left, top) = (24, 84)
    let names: [Markup] = [
      .element("title", title), .element("text", ["x": "\(left)", "y": "18"], title),
      .element(
        "text", ["x": "\(left)", "y": "36", "font-size": "11"],
        "in each map keys \u{2192}, queries \u{2193};   \(summary)"),
    ]
    var content = names.flatMap { [$0, .text("\n")] }
    for (place, head) in heads.enumerated() {
      let (x, y) = (left + place % perRow * step.x, top + place / perRow * step.y)
      content += [
        .element(
          "text", ["x": "\(x - 3)", "y": "\(y - 21)", "font-size": "11"], Self.title(head)),
        .element("text", ["x": "\(x - 3)", "y": "\(y - 8)", "font-size": "10"], head.strategy),
      ]
      content += head.grid.drawing(x, y, scale: scale)
    }
    let bottom = top + rows * step.y
    return Markup.element(
      "svg",
      [
        "xmlns": "http://www.w3.org/2000/svg",
        "width": "\(max(left + perRow * step.x + 6, left + 7 * title.count, 640))",
        "height": "\(bottom + 8)", "font-family": "sans-serif", "font-size": "13",
        "fill": "#808080",
      ], content + [first.legend(left, bottom - 24), .text("\n")]
    ).source + "\n"
  }
}

/// Drawings in characters beside each other.
enum SideBySide {
  /// As many as fit in a row of the terminal, row below row; lines do not end in blanks.
  ///
  /// - Parameters:
  ///   - drawings: lines of each, all as many.
  ///   - width: characters that each takes.
  static func lines(_ drawings: [[String]], width: Int, columns: Int) -> [String] {
    let perRow = max(1, (columns + 2) / (width + 2))
    return stride(from: 0, to: drawings.count, by: perRow).flatMap { start in
      let row = drawings[start..<min(start + perRow, drawings.count)]
      return (row.first ?? []).indices.map { line in
        let text = row.map { drawing in
          drawing[line] + String(repeating: " ", count: max(0, width - drawing[line].count))
        }.joined(separator: "  ")
        return String(text.reversed().drop { $0 == " " }.reversed())
      }
    }
  }
}
