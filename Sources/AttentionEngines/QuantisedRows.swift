import AttentionContract
import AttentionKernels
import Tensors

/// A tensor of keys or values stored as another element type, and what storing takes.
///
/// The rows of one head are calibrated by one worker; different rows are stored by any.
final class QuantisedRows: @unchecked Sendable {
  private let shape: TensorShape
  private let format: RowFormat
  private let rows: AlignedFloats
  private let scales: CalibratedScales
  /// `[threads][columns]` rows widened to fp32.
  private let wide: AlignedFloats
  /// `[columns]` NaNs.
  private let nans: AlignedFloats
  /// `[b][heads][rows]` whether a row is not finite and was left out of the scales, and
  /// `[b][heads]` whether any is.
  private let leftOut: UnsafeMutablePointer<Bool>
  private let anyLeftOut: UnsafeMutablePointer<Bool>

  /// Bytes of such a tensor.
  static func bytes(_ shape: TensorShape, _ storage: ElementType, threads: Int) -> Int {
    let heads = shape.batch * shape.heads
    let flags = storage == .int8PerChannel ? heads * (shape.rows + 1) : 0
    return storage.bytes(shape) + flags + 4 * (threads + 1) * shape.columns
  }

  /// - Throws: `AttentionError` when memory is refused.
  init(_ shape: TensorShape, _ storage: ElementType, threads: Int) throws(AttentionError) {
    let heads = shape.batch * shape.heads
    let calibrated = storage == .int8PerChannel ? heads : 0
    let rows = try AlignedFloats(
      count: (heads * shape.rows * storage.rowBytes(columns: shape.columns) + 3) / 4,
      for: "workspace", touched: true)
    let scales = try CalibratedScales(
      batch: min(calibrated, shape.batch), heads: shape.heads, columns: shape.columns)
    let wide = try AlignedFloats(count: threads * shape.columns, for: "workspace")
    let nans = try AlignedFloats(count: shape.columns, for: "workspace")
    nans.base.update(repeating: .nan, count: shape.columns)
    self.shape = shape
    format = RowFormat(storage, columns: shape.columns)
    self.rows = rows
    self.scales = scales
    self.wide = wide
    self.nans = nans
    leftOut = .allocate(capacity: calibrated * shape.rows)
    leftOut.initialize(repeating: false, count: calibrated * shape.rows)
    anyLeftOut = .allocate(capacity: calibrated)
    anyLeftOut.initialize(repeating: false, count: calibrated)
  }

  deinit {
    leftOut.deallocate()
    anyLeftOut.deallocate()
  }

  /// Whether columns have scales of their own.
  var hasChannelScales: Bool { format.elementType == .int8PerChannel }

  /// `[columns]` NaNs.
  var notANumber: UnsafePointer<Float> { UnsafePointer(nans.base) }

  /// The stored tensor.
  var view: TensorView {
    TensorView(
      dense: rows.base, format.elementType, shape: shape, layout: .bhnd,
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
    let out = wide.base + worker * shape.columns
    RowFormat(source.elementType, columns: shape.columns).load(
      source.rowAddress(batch, head, row), into: out)
    return UnsafePointer(out)
  }
}
