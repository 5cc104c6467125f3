import AttentionContract
import AttentionKernels
import Tensors

/// A tensor of keys or values stored as another element type, and what storing takes.
///
/// The rows of one head are calibrated by one worker; different rows are stored by any.
final class QuantisedRows: @unchecked Sendable {
  /// Where its memory lies; the scales of channels have their own.
  private struct Layout: Sendable {
    var arena = ArenaLayout()
    let rows: ArenaPart<UInt8>
    /// `[threads][columns]` rows widened to fp32.
    let wide: ArenaPart<Float>
    /// `[columns]` NaNs.
    let nans: ArenaPart<Float>
    /// `[b][heads][rows]` whether a row is not finite and was left out of the scales, and
    /// `[b][heads]` whether any is.
    let leftOut: ArenaPart<Bool>
    let anyLeftOut: ArenaPart<Bool>
    let scaleBytes: Int

    init(_ shape: TensorShape, _ storage: ElementType, threads: Int) {
      let heads = shape.batch * shape.heads
      let calibrated = storage == .int8PerChannel ? heads : 0
      rows = arena.add(heads * shape.rows * storage.rowBytes(columns: shape.columns))
      wide = arena.add(threads * shape.columns)
      nans = arena.add(shape.columns)
      leftOut = arena.add(calibrated * shape.rows)
      anyLeftOut = arena.add(calibrated)
      scaleBytes = 4 * calibrated * shape.columns
    }
  }

  private let shape: TensorShape
  private let format: RowFormat
  private let layout: Layout
  private let arena: Arena
  private let scales: CalibratedScales

  /// Bytes of such a tensor.
  static func bytes(_ shape: TensorShape, _ storage: ElementType, threads: Int) -> Int {
    let layout = Layout(shape, storage, threads: threads)
    return layout.arena.bytes + layout.scaleBytes
  }

  /// - Throws: `AttentionError` when memory is refused.
  init(_ shape: TensorShape, _ storage: ElementType, threads: Int) throws(AttentionError) {
    self.shape = shape
    format = RowFormat(storage, columns: shape.columns)
    layout = Layout(shape, storage, threads: threads)
    arena = try Arena(layout.arena)
    scales = try CalibratedScales(
      batch: storage == .int8PerChannel ? shape.batch : 0, heads: shape.heads,
      columns: shape.columns)
    arena[layout.nans].update(repeating: .nan, count: shape.columns)
  }

  private var leftOut: UnsafeMutablePointer<Bool> { arena[layout.leftOut] }
  private var anyLeftOut: UnsafeMutablePointer<Bool> { arena[layout.anyLeftOut] }

  /// Whether columns have scales of their own.
  var hasChannelScales: Bool { format.elementType == .int8PerChannel }

  /// `[columns]` NaNs.
  var notANumber: UnsafePointer<Float> { UnsafePointer(arena[layout.nans]) }

  /// The stored tensor.
  var view: TensorView {
    TensorView(
      dense: arena[layout.rows], format.elementType, shape: shape, layout: .bhnd,
      channelScales: hasChannelScales ? scales.base : nil)
  }

  /// Whether some row of a head is not finite.
  func hasRowsLeftOut(_ batch: Int, _ head: Int) -> Bool {
    anyLeftOut[batch * shape.heads + head]
  }

  /// Whether a row is not finite.
  func isLeftOut(_ batch: Int, _ head: Int, _ row: Int) -> Bool {
    leftOut[(batch * shape.heads + head) * shape.rows + row]
  }

  /// Measures a head's channel scales over those of `used` rows that are finite.
  func calibrate(
    _ used: Range<Int>, of source: TensorView, _ batch: Int, _ head: Int, worker: Int
  ) {
    let index = batch * shape.heads + head
    anyLeftOut[index] = false
    scales.begin(batch, head)
    for row in used {
      let values = widened(source, batch, head, row, worker: worker)
      let isFinite = Int8Quantisation.magnitude(values, count: shape.columns).isFinite
      leftOut[index * shape.rows + row] = !isFinite
      if isFinite { scales.include(values, batch, head) } else { anyLeftOut[index] = true }
    }
    scales.finish(batch, head)
  }

  /// Stores rows.
  func store(
    _ rows: Range<Int>, of source: TensorView, _ batch: Int, _ head: Int, worker: Int
  ) {
    let view = view
    let scales = view.channelScales(batch, head)
    for row in rows {
      format.store(
        widened(source, batch, head, row, worker: worker), to: view.writableRow(batch, head, row),
        scales: scales)
    }
  }

  /// A row in fp32: itself, or widened until the worker's next call.
  private func widened(
    _ source: TensorView, _ batch: Int, _ head: Int, _ row: Int, worker: Int
  ) -> UnsafePointer<Float> {
    if source.elementType == .float32 { return source.row(batch, head, row) }
    let out = arena[layout.wide] + worker * shape.columns
    RowFormat(source.elementType, columns: shape.columns).load(
      source.rowAddress(batch, head, row), into: out)
    return UnsafePointer(out)
  }
}
