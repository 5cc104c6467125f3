import Choosing
import Measuring
import Records
import Statistics
import Units

/// Where the panels of attention maps lie on a picture, in points from its top left corner.
struct MapSheet {
  /// A panel with its names.
  struct Tile {
    let panel: AttentionMap.Panel
    let title: String
    /// Below the title; empty for none.
    let subtitle: String
    /// The panel's left edge.
    let x: Double
    /// Its upper edge.
    let y: Double
  }

  /// A line of text.
  struct Heading {
    let text: String
    let y: Double
  }

  /// A panel's sides.
  let size: (width: Double, height: Double)
  let tiles: [Tile]
  let headings: [Heading]
  /// Whether the axes have numbers: small panels have no room for them.
  let hasTicks: Bool
  /// Where the panels end to the right.
  let right: Double
  /// Where they end below.
  let bottom: Double

  /// Between the picture's left edge and the first panel.
  static let left = 66.0
  /// For the legend of the colours, right of the panels.
  static let legend = 120.0
  private static let top = 112.0

  /// The panels of one head, side by side.
  init(_ map: AttentionMap) {
    let size = Self.size(of: map, side: map.panels.count > 2 ? 300 : 400, smallestPixel: 1)
    let perRow = min(map.panels.count, 3)
    self.size = size
    hasTicks = true
    headings = []
    tiles = map.panels.enumerated().map { index, panel in
      Tile(
        panel: panel, title: panel.strategy.isEmpty ? "all keys" : panel.strategy,
        subtitle: map.headline(panel),
        x: Self.left + Double(index % perRow) * (size.width + 34),
        y: Self.top + Double(index / perRow) * (size.height + 100))
    }
    (right, bottom) = Self.end(of: tiles, size)
  }

  /// A block of small panels for the attention and for each strategy, with a panel a head.
  init(_ heads: HeadMaps) {
    let size = Self.size(of: heads.maps[0], side: 112, smallestPixel: 1)
    // Room for the longest name of a strategy.
    let longest = heads.blocks.flatMap(\.tiles).map(\.strategy.count).max() ?? 0
    let step = max(size.width + 16, 5.2 * Double(longest) + 8)
    // Rows of as many maps each as possible: a last one of two looks like a mistake.
    let most = min(heads.maps.count, max(1, Int(1040 / step)))
    let rows = (heads.maps.count + most - 1) / most
    let perRow = (heads.maps.count + rows - 1) / rows
    var (tiles, headings): ([Tile], [Heading]) = ([], [])
    var y = Self.top - 36
    for block in heads.blocks {
      headings.append(Heading(text: block.headline, y: y))
      let names = block.tiles.contains { !$0.strategy.isEmpty } ? 40.0 : 26
      for (index, tile) in block.tiles.enumerated() {
        tiles.append(
          Tile(
            panel: tile.panel, title: tile.label, subtitle: tile.strategy,
            x: 18 + Double(index % perRow) * step,
            y: y + names + 6 + Double(index / perRow) * (size.height + names)))
      }
      y = (tiles.last?.y ?? y) + size.height + 34
    }
    (self.size, self.tiles, self.headings, hasTicks) = (size, tiles, headings, false)
    (right, bottom) = Self.end(of: tiles, size)
  }

  /// A panel whose pixels are whole points, so that no row or column is narrower than another: what
  /// stands in the first ones, as sinks do, must not vanish.
  private static func size(
    of map: AttentionMap, side: Double, smallestPixel: Double
  ) -> (width: Double, height: Double) {
    let unit = side / Double(max(map.queryLength, map.keyLength))
    func whole(_ length: Int, _ cells: Int) -> Double {
      let pixel = (unit * Double(length) / Double(cells)).rounded()
      // A cache of a thousand keys for one query is still to be seen.
      return max(pixel, smallestPixel, (48 / Double(cells)).rounded(.up)) * Double(cells)
    }
    return (whole(map.keyLength, map.columnCount), whole(map.queryLength, map.rowCount))
  }

  private static func end(
    of tiles: [Tile], _ size: (width: Double, height: Double)
  ) -> (Double, Double) {
    ((tiles.map(\.x).max() ?? 0) + size.width, (tiles.map(\.y).max() ?? 0) + size.height)
  }
}
