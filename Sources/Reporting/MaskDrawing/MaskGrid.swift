import Attention
import Choosing
import Measuring
import Records
import Statistics
import Units

/// Who sees whom, on a grid: a cell is a pair, or the share of seen pairs in a block of them.
public struct MaskGrid: Sendable {
  /// Query rows of the mask.
  public let queryLength: Int
  /// Keys of the mask.
  public let keyLength: Int
  /// Cells from top to bottom.
  public let rowCount: Int
  /// Cells from left to right.
  public let columnCount: Int
  /// (query, key) pairs that the pattern scores, counted, whatever the grid.
  public let pairs: Int
  /// Pairs that the causal mask, if any, leaves visible.
  public let visiblePairs: Int

  private let shares: [Float]

  /// Query rows looked at in a row of cells; more would not show.
  private static let sampledRows = 8
  /// Keys looked at in a cell: all of them up to 160k keys on a terminal of 80 columns.
  private static let sampledKeys = 2048

  /// Lays a grid over a pattern. One cell a pair where that fits, blocks otherwise.
  ///
  /// Of a block's query rows a few are looked at, at random places so that no stride hides, and
  /// of each such row every key, or very many.
  ///
  /// - Complexity: 2^14 pattern look-ups a cell at most, and O(nQ) to count the pairs.
  public init(_ pattern: any KeyPattern, maximumRows: Int, maximumColumns: Int) {
    let geometry = pattern.geometry
    queryLength = geometry.queryLength
    keyLength = geometry.keyLength
    rowCount = max(1, min(maximumRows, geometry.queryLength))
    columnCount = max(1, min(maximumColumns, geometry.keyLength))
    pairs = pattern.pairs
    visiblePairs = DensePattern(geometry).pairs

    var generator = SeededGenerator(seed: 1)
    var shares: [Float] = []
    shares.reserveCapacity(rowCount * columnCount)
    for cellRow in 0..<rowCount {
      let block = Self.block(cellRow, of: rowCount, over: queryLength)
      let rows = Self.sample(block, Self.sampledRows, &generator)
      for cellColumn in 0..<columnCount {
        let keys = Self.sample(
          Self.block(cellColumn, of: columnCount, over: keyLength), Self.sampledKeys, &generator)
        var seen = 0
        for row in rows {
          for key in keys where pattern.includes(position: row + geometry.offset, key: key) {
            seen += 1
          }
        }
        shares.append(Float(seen) / Float(rows.count * keys.count))
      }
    }
    self.shares = shares
  }

  /// Whether every cell is one pair.
  public var isExact: Bool { rowCount == queryLength && columnCount == keyLength }

  /// The share of seen pairs in a cell, 0 to 1.
  public func share(row: Int, column: Int) -> Float { shares[row * columnCount + column] }

  /// All of a range, or `limit` random places of it.
  private static func sample(
    _ range: Range<Int>, _ limit: Int, _ generator: inout SeededGenerator
  ) -> [Int] {
    if range.count <= limit { return Array(range) }
    return (0..<limit).map { _ in Int.random(in: range, using: &generator) }
  }

  /// The part `index` of `count` nearly equal parts of 0..<length.
  static func block(_ index: Int, of count: Int, over length: Int) -> Range<Int> {
    // Lengths are below 2^31 and counts are those of a screen: the products fit.
    index * length / count..<(index + 1) * length / count
  }
}

extension MaskGrid {
  /// Counted pairs and their share: `484 of 4096 pairs (11.8%)`, and of the causal half where that
  /// is less.
  public var summary: String {
    func percent(_ whole: Int) -> String {
      SignificantDigits.three(100 * Double(pairs) / Double(whole)) + "%"
    }
    let all = queryLength * keyLength
    let ofAll = "\(pairs) of \(all) pairs (\(percent(all)))"
    if visiblePairs == all || visiblePairs == 0 { return ofAll }
    return "\(ofAll), of the \(visiblePairs) causal ones \(percent(visiblePairs))"
  }
}
