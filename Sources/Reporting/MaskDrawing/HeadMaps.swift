import Attention
import Choosing
import Measuring
import Records
import Statistics
import Units

/// The attention of several heads as small pictures side by side, on one scale.
///
/// A block of maps for the attention itself, then one for each strategy, in which every head has its
/// map: heads of a model differ, and which of them a strategy suits shows only beside the others.
public struct HeadMaps: Sendable {
  /// The maps of one strategy, or of the attention itself.
  public struct Block: Sendable {
    /// What the maps show, with the share of all heads together.
    public let headline: String
    /// One for each head.
    public let tiles: [Tile]
  }

  /// A head's map.
  public struct Tile: Sendable {
    /// `head 3`, with the share of attention that a strategy keeps.
    public let label: String
    /// The strategy, where heads have different ones; empty elsewhere.
    public let strategy: String
    public let panel: AttentionMap.Panel
  }

  /// The maps of the heads from 0 on, all with the same grid and as many panels.
  public let maps: [AttentionMap]
  /// Whether the last panel is that of a plan, a strategy of each head's own.
  private let hasPlan: Bool

  /// Computes the maps of every head.
  ///
  /// - Parameters:
  ///   - strategies: what to draw beside the attention.
  ///   - plan: a strategy for each head, to draw beside those; nil for none.
  ///   - query: `[b, h, nQ, d]`.
  ///   - key: `[b, hKV, nKV, d]`.
  ///   - named: what strategies take beside them, by name, in fp32.
  /// - Throws: as `AttentionMap`, and when a plan has not as many strategies as there are heads.
  /// - Complexity: that of an `AttentionMap` for each head.
  public init(
    of strategies: [any AttentionStrategy], plan: [any AttentionStrategy]? = nil,
    on problem: AttentionProblem, query: TensorView, key: TensorView,
    named: [String: TensorView] = [:], batch: Int = 0, maximumRows: Int, maximumColumns: Int
  ) throws(AttentionError) {
    if let plan, plan.count != problem.shape.heads {
      throw AttentionError(
        .shapeMismatch, argument: "plan", value: "\(plan.count) strategies",
        advice: "one for each query head is needed, and there are \(problem.shape.heads)")
    }
    var maps: [AttentionMap] = []
    for head in 0..<problem.shape.heads {
      maps.append(
        try AttentionMap(
          of: strategies + (plan.map { [$0[head]] } ?? []), on: problem, query: query, key: key,
          named: named, batch: batch, head: head, maximumRows: maximumRows,
          maximumColumns: maximumColumns))
    }
    self.maps = maps
    hasPlan = plan != nil
  }

  /// The attention first, then the strategies.
  public var blocks: [Block] {
    guard let first = maps.first else { return [] }
    return first.panels.indices.map { place in
      let isPlan = hasPlan && place == first.panels.count - 1
      let panels = maps.map { $0.panels[place] }
      let content =
        panels.contains { $0.content == .other } ? AttentionMap.Content.other : panels[0].content
      let tiles = panels.enumerated().map { head, panel in
        let share =
          content == .attention ? "" : " \(SignificantDigits.three(100 * panel.share))%"
        return Tile(
          label: "head \(head)\(share)", strategy: isPlan ? panel.strategy : "", panel: panel)
      }
      let mean = panels.reduce(0) { $0 + $1.share } / Double(panels.count)
      let name = content == .attention ? "" : (isPlan ? "the plan: " : "\(panels[0].strategy): ")
      return Block(
        headline: name + AttentionMap.headline(content, share: mean)
          + (content == .attention ? "" : ", mean over \(panels.count) heads"), tiles: tiles)
    }
  }

  /// The blocks in characters, as many maps side by side as fit, and what they stand for.
  ///
  /// - Parameter columns: of the terminal.
  public func text(columns: Int) -> [String] {
    guard let first = maps.first else { return [] }
    let scale = AttentionScale(maps)
    return blocks.flatMap { block -> [String] in
      let drawn = block.tiles.map { tile in
        [tile.label] + (tile.strategy.isEmpty ? [] : [tile.strategy])
          + first.rows(of: tile.panel, on: scale)
      }
      let names = block.tiles.flatMap { [$0.label.count, $0.strategy.count] }
      let width = max(first.columnCount, names.max() ?? 0)
      return [block.headline] + SideBySide.lines(drawn, width: width, columns: columns)
    } + [AttentionMap.legend(of: scale)]
  }

  /// What a pixel stands for and which rows were looked at, one sentence each.
  ///
  /// - Parameter unit: what a pixel is called: `pixel`, or `character` on a terminal.
  public func captions(unit: String = "pixel") -> [String] {
    guard let first = maps.first else { return [] }
    return first.captions(unit: unit, emptyRows: maps.reduce(0) { $0 + $1.emptyRows })
  }
}
