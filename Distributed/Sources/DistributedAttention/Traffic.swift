import Attention

/// Bytes that a scheme moves, by its formula; e = 4 bytes of an element, n_r key rows and m_r query rows of
/// rank r, b sequences.
///
/// | scheme | bytes that rank r sends |
/// |---|---|
/// | ring, allgather | (R - 1) e b hKV n_r (d + dV) |
/// | alltoall | e b (m_r (h - h_r) d + n_r (hKV - hKV_r) (d + dV) + (n - m_r) h_r (dV + 1)) |
/// | halo | e b hKV (d + dV) times its rows that others' queries see; for a causal window of w and contiguous shards w - 1 |
/// | states | e b hKV m dV, of all ranks but the last |
public struct Traffic: Sendable, Hashable {
  /// Bytes that each rank sends.
  public let bytes: [Int]

  /// The largest number of bytes that a rank sends.
  public var largest: Int { bytes.max() ?? 0 }

  static let elementBytes = MemoryLayout<Float>.stride

  /// Bytes of `ring` and of `allgather`.
  public static func keysToAll(_ shape: AttentionShape, keys: ShardLayout) -> Traffic {
    Traffic(
      bytes: (0..<keys.ranks).map { rank in
        (keys.ranks - 1) * keyRowBytes(shape) * keys.count(rank)
      })
  }

  /// Bytes of `alltoall`, operands of the strategy not counted.
  public static func headsForRows(
    _ shape: AttentionShape, deal: HeadDeal, queries: ShardLayout, keys: ShardLayout
  ) -> Traffic {
    Traffic(
      bytes: (0..<keys.ranks).map { rank in
        let (heads, kvHeads) = (deal.headRange(of: rank).count, deal.kvHeadRange(of: rank).count)
        let there =
          queries.count(rank) * (shape.heads - heads) * shape.headDim
          + keys.count(rank) * (shape.kvHeads - kvHeads) * (shape.headDim + shape.valueDim)
        let back = (queries.length - queries.count(rank)) * heads * (shape.valueDim + 1)
        return elementBytes * shape.batch * (there + back)
      })
  }

  /// Bytes of `halo`.
  ///
  /// - Parameter rows: key rows that each rank sends.
  public static func rowsThatAreSeen(_ shape: AttentionShape, rows: [Int]) -> Traffic {
    Traffic(bytes: rows.map { $0 * keyRowBytes(shape) })
  }

  /// Bytes of `states`.
  ///
  /// - Parameter stateRows: m.
  public static func states(_ shape: AttentionShape, stateRows: Int, ranks: Int) -> Traffic {
    let state = elementBytes * shape.batch * shape.kvHeads * stateRows * shape.valueDim
    return Traffic(bytes: (0..<ranks).map { $0 + 1 < ranks ? state : 0 })
  }

  /// Bytes of key and value of one row, all heads and sequences.
  static func keyRowBytes(_ shape: AttentionShape) -> Int {
    elementBytes * shape.batch * shape.kvHeads * (shape.headDim + shape.valueDim)
  }
}
