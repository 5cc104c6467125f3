import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// What the queries of a problem see, lowered once a plan to what engines read: the bounds of a row,
/// tile bits, and one rule for what is added to its scores.
///
/// Every engine reads this and none the problem's `Visibility`. Only the fp64 oracle has a definition
/// of its own, to check against.
package struct LoweredVisibility: Sendable {
  /// The bounds of rows, one pattern a batch entry, the same value where geometries are equal.
  package let patterns: [any KeyPattern]
  /// What is added or hidden key by key; nil for nothing.
  let rule: BiasRule?
  /// Which tiles of keys a row sees at all, and which it sees plainly; nil where the bounds say it
  /// all, and until `readTiles`.
  private(set) var tiles: TileMap?
  private let shape: AttentionShape

  /// - Parameters:
  ///   - keyLength: key rows in use, instead of the problem's: for a cache that grows.
  ///   - pattern: the keys a query may see under a geometry.
  package init(
    _ problem: AttentionProblem, keyLength: Int? = nil, pattern: (MaskGeometry) -> any KeyPattern
  ) {
    var known: [MaskGeometry: any KeyPattern] = [:]
    patterns = (0..<problem.shape.batch).map { batch in
      let geometry =
        keyLength.map { problem.geometry(batch: batch, keyLength: $0) }
        ?? problem.geometry(batch: batch)
      let pattern = known[geometry] ?? pattern(geometry)
      known[geometry] = pattern
      return pattern
    }
    rule = BiasRule(problem)
    shape = problem.shape
  }

  /// Reads mask and bias into tile bits.
  ///
  /// - Throws: `AttentionError` of kind `outOfMemory`.
  /// - Complexity: reads every element of mask and bias once for each row it stands for.
  mutating func readTiles(_ kernels: KernelTable) throws(AttentionError) {
    tiles = try rule.flatMap { rule throws(AttentionError) in
      try TileMap(rule, keyLength: shape.keyLength, kernels: kernels)
    }
  }

  /// Bytes of the tile bits.
  var tileBytes: Int { TileMap.bytes(rule, keyLength: shape.keyLength) }

  /// Whether the rows of a batch entry may see different keys.
  var differsByRow: Bool {
    rule?.axes != nil || patterns.contains { !$0.geometry.isUniform }
  }

  /// Whether a query sees a key.
  func shows(_ key: Int, _ batch: Int, _ head: Int, _ row: Int) -> Bool {
    let pattern = patterns[batch]
    let position = row + pattern.geometry.offset
    return pattern.includes(position: position, key: key)
      && rule?.row(batch, head, row, position: position).shows(key) ?? true
  }

  /// The (query, key) pairs that are seen, over all heads.
  ///
  /// - Complexity: O(nQ) pattern look-ups for each distinct geometry; a mask or a bias is read once for
  ///   each batch entry.
  package func pairs(_ kernels: KernelTable) -> Int {
    let axes = rule?.axes
    let keys = rule.flatMap { axes == nil ? nil : VisibleKeys($0, shape.keyLength, kernels) }
    var known: [MaskGeometry: Int] = [:]
    return patterns.enumerated().reduce(0) { total, entry in
      let (batch, pattern) = entry
      if axes?.batch ?? 1 == 1, let pairs = known[pattern.geometry] { return total + pairs }
      var pairs = 0
      for head in 0..<(axes?.heads ?? 1) {
        pairs += keys?.pairs(pattern, batch: batch, head: head) ?? pattern.pairs
      }
      pairs *= shape.heads / (axes?.heads ?? 1)
      known[pattern.geometry] = pairs
      return total + pairs
    }
  }
}
