import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// One worker's memory for the splits of a few query rows.
final class DecodeScratch {
  private let floats: AlignedFloats
  /// `[splitKeys]` rows of the keys and values of a split.
  let keys: RowPointers
  let values: RowPointers
  /// `[splitKeys]` their key numbers.
  let numbers: UnsafeMutablePointer<Int32>
  /// `[rows]` each.
  let lower: UnsafeMutablePointer<Int32>
  let upper: UnsafeMutablePointer<Int32>
  let biases: UnsafeMutablePointer<attn_row_bias>
  private let lanes: Int
  /// Floats from one packed query to the next.
  let queryStride: Int
  private let rowFloats: Int

  private static func sizes(_ layout: DecodeLayout) -> (stride: Int, row: Int, floats: Int) {
    let shape = layout.problem.shape
    let stride = (shape.headDim + 15) & ~15
    let row = max(stride, (shape.valueDim + 15) & ~15)
    let floats = layout.lanes * (stride + Int(ATTN_DECODE_SCORES)) + row
    return (stride, row, floats)
  }

  static func bytes(_ layout: DecodeLayout) -> Int {
    4 * sizes(layout).floats
      + layout.splitKeys * (2 * MemoryLayout<UnsafeRawPointer>.stride + 4)
      + layout.lanes * (2 * 4 + MemoryLayout<attn_row_bias>.stride)
  }

  init(_ layout: DecodeLayout) throws(AttentionError) {
    let sizes = DecodeScratch.sizes(layout)
    lanes = layout.lanes
    queryStride = sizes.stride
    rowFloats = sizes.row
    floats = try AlignedFloats(count: sizes.floats, for: "workspace", touched: true)
    keys = .allocate(capacity: layout.splitKeys)
    values = .allocate(capacity: layout.splitKeys)
    numbers = .allocate(capacity: layout.splitKeys)
    lower = .allocate(capacity: lanes)
    upper = .allocate(capacity: lanes)
    biases = .allocate(capacity: lanes)
  }

  deinit {
    keys.deallocate()
    values.deallocate()
    numbers.deallocate()
    lower.deallocate()
    upper.deallocate()
    biases.deallocate()
  }

  /// A row of queries or of output in fp32.
  var row: UnsafeMutablePointer<Float> { floats.base }
  /// `[rows][queryStride]`.
  var queries: UnsafeMutablePointer<Float> { row + rowFloats }
  /// `[rows][ATTN_DECODE_SCORES]`.
  var scores: UnsafeMutablePointer<Float> { queries + lanes * queryStride }

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
