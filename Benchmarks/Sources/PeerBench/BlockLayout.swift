import Attention
import TensorFiles

/// Which blocks of keys the blocks of queries attend to, of a pattern that is whole blocks of one size but
/// for causality.
struct BlockLayout {
  /// For each block of queries, whether it attends to each block of keys.
  let rows: [[Bool]]

  /// - Parameter block: keys and queries of a block; the last may have fewer.
  /// - Complexity: one question to the pattern for each pair of blocks.
  init(_ pattern: any KeyPattern, block: Int) {
    let geometry = pattern.geometry
    rows = stride(from: 0, to: geometry.queryLength, by: block).map { first in
      // The last query of a block sees the first key of a block if anyone sees any.
      let last = min(first + block, geometry.queryLength) - 1 + geometry.offset
      return stride(from: 0, to: geometry.keyLength, by: block).map {
        pattern.includes(position: last, key: $0)
      }
    }
  }

  /// `[1, blocks of queries, blocks of keys]`, 1 where a block is attended to.
  func tensor() throws -> HostTensor {
    try HostTensor(shape: [1, rows.count, rows.first?.count ?? 0]) { elements in
      for (index, attends) in rows.joined().enumerated() { elements[index] = attends ? 1 : 0 }
    }
  }
}
