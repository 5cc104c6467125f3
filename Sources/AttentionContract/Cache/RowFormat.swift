import AttentionKernels
import CAttentionKernels
import Tensors

/// Rows of a tensor in a storage format: writes them from floating-point rows and reads them back.
package struct RowFormat: Sendable {
  /// How elements are stored.
  package let elementType: ElementType
  /// Elements of a row.
  package let columns: Int

  /// The format of rows of `columns` elements.
  package init(_ elementType: ElementType, columns: Int) {
    self.elementType = elementType
    self.columns = columns
  }

  package var rowBytes: Int { elementType.rowBytes(columns: columns) }

  /// Elements from one row to the next where rows lie close.
  var stride: Int { rowBytes / elementType.byteCount }

  /// Stores a row.
  ///
  /// Not finite elements make a row of `int8PerToken` NaN; in one of `int8PerChannel` they are lost.
  ///
  /// - Parameter scales: `[columns]`, for `int8PerChannel` only.
  package func store(
    _ row: UnsafePointer<Float>, to address: UnsafeMutableRawPointer,
    scales: UnsafePointer<Float>? = nil
  ) {
    switch elementType {
    case .float32, .float16, .bfloat16:
      var (source, target) = (row, address)
      KernelTable.active.functions.pointee.narrow(
        &source, 1, Int32(columns), elementType.storage, &target)
    case .int8PerToken:
      let scale = Int8Quantisation.scale(
        for: Int8Quantisation.magnitude(row, count: columns))
      Int8Quantisation.quantise(
        row, count: columns, scale: scale, into: address.assumingMemoryBound(to: Int8.self))
      address.storeBytes(
        of: scale, toByteOffset: elementType.scaleOffset(columns: columns), as: Float.self)
    case .int8PerChannel:
      guard let scales else { return }
      Int8Quantisation.quantise(
        row, count: columns, scales: scales, into: address.assumingMemoryBound(to: Int8.self))
    }
  }

  /// Reads a row back as fp32: what attention over the stored row computes with.
  ///
  /// - Parameter scales: `[columns]`, for `int8PerChannel` only.
  package func load(
    _ address: UnsafeRawPointer, scales: UnsafePointer<Float>? = nil,
    into row: UnsafeMutablePointer<Float>
  ) {
    var source = address
    KernelTable.active.functions.pointee.widen(
      &source, 1, Int32(columns), elementType.storage, scales, row)
  }
}
