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

  /// Lays a grid over a pattern. One cell a pair where that fits, blocks otherwise.
  ///
  /// Every pair of a cell counts, none is sampled: the mean of the cells, each weighed by its pairs,
  /// is the share that `summary` states.
  ///
  /// - Complexity: O(nQ columns) for each key sequence of the pattern at most, however many keys.
  public init(_ pattern: any KeyPattern, maximumRows: Int, maximumColumns: Int) {
    let geometry = pattern.geometry
    queryLength = geometry.queryLength
    keyLength = geometry.keyLength
    rowCount = max(1, min(maximumRows, geometry.queryLength))
    columnCount = max(1, min(maximumColumns, geometry.keyLength))
    visiblePairs = DensePattern(geometry).pairs

    let counter = CellCounter(pattern, columns: columnCount)
    var (shares, pairs): ([Float], Int) = ([], 0)
    shares.reserveCapacity(rowCount * columnCount)
    for cellRow in 0..<rowCount {
      let rows = Self.block(cellRow, of: rowCount, over: queryLength)
      for (column, count) in counter.counts(of: rows).enumerated() {
        let keys = Self.block(column, of: columnCount, over: keyLength)
        shares.append(Float(count) / Float(rows.count * keys.count))
        pairs += count
      }
    }
    self.shares = shares
    self.pairs = pairs
  }

  /// Whether every cell is one pair.
  public var isExact: Bool { rowCount == queryLength && columnCount == keyLength }

  /// The share of seen pairs in a cell, 0 to 1.
  public func share(row: Int, column: Int) -> Float { shares[row * columnCount + column] }

  /// The part `index` of `count` nearly equal parts of 0..<length.
  static func block(_ index: Int, of count: Int, over length: Int) -> Range<Int> {
    // Lengths are below 2^31 and counts are those of a screen: the products fit.
    index * length / count..<(index + 1) * length / count
  }
}

extension MaskGrid {
  /// The share of the pairs that the causal mask leaves visible which the pattern scores, 0 to 1.
  public var visibleShare: Double {
    visiblePairs == 0 ? 0 : Double(pairs) / Double(visiblePairs)
  }

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

/// Counts the pairs of a pattern that fall on each column of cells.
private struct CellCounter {
  private let pattern: any KeyPattern
  private let columns: Int
  /// The first key of each column, and behind the last one the number of keys.
  private let bounds: [Int]
  /// The sequences of the passes whose rows are all alike.
  private let fixed: [[KeySequence]?]
  private let sequenceCounts: [Int]

  init(_ pattern: any KeyPattern, columns: Int) {
    self.pattern = pattern
    self.columns = columns
    let keyLength = pattern.geometry.keyLength
    bounds = (0...columns).map { MaskGrid.block($0, of: columns, over: keyLength).lowerBound }
    let first = pattern.rowStrides.indices.map { pattern.sequences(pass: $0, residue: 0) }
    sequenceCounts = first.map(\.count)
    fixed = zip(pattern.rowStrides, first).map { $0 == 1 ? $1 : nil }
  }

  /// The pairs of some query rows by columns.
  func counts(of rows: Range<Int>) -> [Int] {
    var counts = Array(repeating: 0, count: columns)
    for row in rows {
      let position = row + pattern.geometry.offset
      for (pass, stride) in pattern.rowStrides.enumerated() {
        let residue = ((position % stride) + stride) % stride
        for index in 0..<sequenceCounts[pass] {
          let places = pattern.range(pass: pass, sequence: index, position: position)
          if places.isEmpty { continue }
          add(
            places,
            of: fixed[pass]?[index] ?? pattern.sequence(index, pass: pass, residue: residue),
            to: &counts)
        }
      }
    }
    return counts
  }

  private func add(_ places: Range<Int>, of sequence: KeySequence, to counts: inout [Int]) {
    var place = places.lowerBound
    // The column c of a key: bounds[c] <= key < bounds[c + 1].
    let keyLength = pattern.geometry.keyLength
    var column = ((sequence.key(place) + 1) * columns - 1) / keyLength
    while place < places.upperBound {
      let end = min(places.upperBound, sequence.places(before: bounds[column + 1]))
      counts[column] += end - place
      (place, column) = (end, column + 1)
    }
  }
}
