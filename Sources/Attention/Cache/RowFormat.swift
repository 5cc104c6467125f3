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

  /// Bytes of a row.
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
    case .float32:
      address.assumingMemoryBound(to: Float.self).update(from: row, count: columns)
    case .float16:
      let out = address.assumingMemoryBound(to: Float16.self)
      for i in 0..<columns { out[i] = Float16(row[i]) }
    case .bfloat16:
      let out = address.assumingMemoryBound(to: UInt16.self)
      for i in 0..<columns { out[i] = RowFormat.brain(row[i]) }
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
    switch elementType {
    case .float32:
      row.update(from: address.assumingMemoryBound(to: Float.self), count: columns)
    case .float16:
      let elements = address.assumingMemoryBound(to: Float16.self)
      for i in 0..<columns { row[i] = Float(elements[i]) }
    case .bfloat16:
      let elements = address.assumingMemoryBound(to: UInt16.self)
      for i in 0..<columns { row[i] = Float(bitPattern: UInt32(elements[i]) << 16) }
    case .int8PerToken:
      let integers = address.assumingMemoryBound(to: Int8.self)
      let scale = address.loadUnaligned(
        fromByteOffset: elementType.scaleOffset(columns: columns), as: Float.self)
      for i in 0..<columns { row[i] = Float(integers[i]) * scale }
    case .int8PerChannel:
      guard let scales else { return }
      let integers = address.assumingMemoryBound(to: Int8.self)
      for i in 0..<columns { row[i] = Float(integers[i]) * scales[i] }
    }
  }

  /// The upper half of an fp32, rounded to nearest, ties to even; a NaN is made quiet, so that
  /// dropping its low bits cannot leave infinity.
  @inline(__always)
  private static func brain(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    let rounded = (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) >> 16
    return UInt16(truncatingIfNeeded: value.isNaN ? (bits >> 16) | 0x0040 : rounded)
  }
}
