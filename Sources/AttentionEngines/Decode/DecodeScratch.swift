import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// One worker's memory for the splits of a few query rows.
final class DecodeScratch {
  /// Sizes of the memory and where everything lies in it.
  struct Layout: Sendable {
    private(set) var arena = ArenaLayout()
    fileprivate let queryStride: Int
    fileprivate let row: ArenaPart<Float>
    fileprivate let queries: ArenaPart<Float>
    fileprivate let scores: ArenaPart<Float>
    fileprivate let keys: ArenaPart<UnsafeRawPointer>
    fileprivate let values: ArenaPart<UnsafeRawPointer>
    fileprivate let numbers: ArenaPart<Int32>
    fileprivate let lower: ArenaPart<Int32>
    fileprivate let upper: ArenaPart<Int32>
    fileprivate let biases: ArenaPart<attn_row_bias>

    /// - Parameter lanes: query rows of a key/value head.
    init(_ shape: AttentionShape, lanes: Int, splitKeys: Int) {
      queryStride = (shape.headDim + 15) & ~15
      row = arena.add(max(queryStride, (shape.valueDim + 15) & ~15))
      queries = arena.add(lanes * queryStride)
      scores = arena.add(lanes * Int(ATTN_DECODE_SCORES))
      keys = arena.add(splitKeys)
      values = arena.add(splitKeys)
      numbers = arena.add(splitKeys)
      lower = arena.add(lanes)
      upper = arena.add(lanes)
      biases = arena.add(lanes)
    }
  }

  private let arena: Arena
  /// A row of queries or of output in fp32.
  let row: UnsafeMutablePointer<Float>
  /// `[rows][queryStride]`.
  let queries: UnsafeMutablePointer<Float>
  /// Floats from one packed query to the next.
  let queryStride: Int
  /// `[rows][ATTN_DECODE_SCORES]`.
  let scores: UnsafeMutablePointer<Float>
  /// `[splitKeys]` rows of the keys and values of a split.
  let keys: RowPointers
  let values: RowPointers
  /// `[splitKeys]` their key numbers.
  let numbers: UnsafeMutablePointer<Int32>
  /// `[rows]` each.
  let lower: UnsafeMutablePointer<Int32>
  let upper: UnsafeMutablePointer<Int32>
  let biases: UnsafeMutablePointer<attn_row_bias>

  init(_ layout: Layout) throws(AttentionError) {
    arena = try Arena(layout.arena)
    queryStride = layout.queryStride
    row = arena[layout.row]
    queries = arena[layout.queries]
    scores = arena[layout.scores]
    keys = arena[layout.keys]
    values = arena[layout.values]
    numbers = arena[layout.numbers]
    lower = arena[layout.lower]
    upper = arena[layout.upper]
    biases = arena[layout.biases]
  }

  /// Points at the rows of some places of a key sequence.
  static func point(
    _ table: RowPointers, at places: Range<Int>, of keys: KeySequence, in view: TensorView,
    batch: Int, head: Int
  ) {
    let step = view.rowStride * view.elementType.byteCount
    var place = places.lowerBound
    while place < places.upperBound {
      let key = keys.key(place)
      let together =
        keys.period == 1 ? places.upperBound - place : keys.run - place % keys.run
      let count = view.regularRows(
        from: key, limit: min(together, places.upperBound - place))
      let address = view.rowAddress(batch, head, key)
      let out = table + (place - places.lowerBound)
      for i in 0..<count { out[i] = address + i * step }
      place += count
    }
  }
}
