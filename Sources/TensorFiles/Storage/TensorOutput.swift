import SystemPackage

/// Writes headers and elements to a descriptor it does not own.
package struct TensorOutput {
  private let path: String
  private let descriptor: FileDescriptor

  /// - Parameters:
  ///   - descriptor: Open for writing; stays the caller's.
  ///   - path: What errors call the file.
  package init(_ descriptor: FileDescriptor, path: String) {
    self.descriptor = descriptor
    self.path = path
  }

  /// Writes `bytes` as they are.
  package func write(_ bytes: [UInt8]) throws(TensorFileError) {
    try attempt("write", path) { _ = try descriptor.writeAll(bytes) }
  }

  /// Writes the elements of `tensor` as they are.
  package func write(_ tensor: StoredTensor) throws(TensorFileError) {
    try tensor.withUnsafeBytes { bytes throws(TensorFileError) in
      try attempt("write", path) { _ = try descriptor.writeAll(bytes) }
    }
  }

  /// Writes the elements of `tensor`, converted to `type`.
  package func write(
    _ tensor: HostTensor, as type: TensorElementType
  ) throws(TensorFileError) {
    try tensor.withUnsafeElements { elements throws(TensorFileError) in
      guard type != .float32 else {
        try attempt("write", path) {
          _ = try descriptor.writeAll(UnsafeRawBufferPointer(elements))
        }
        return
      }
      let chunk = ConversionChunk(type: type)
      for range in chunk.ranges(of: elements.count) {
        let bytes = chunk.bytes(for: range.count)
        ElementConversion.encode(
          UnsafeBufferPointer(rebasing: elements[range]), as: type, into: bytes)
        try attempt("write", path) { _ = try descriptor.writeAll(UnsafeRawBufferPointer(bytes)) }
      }
    }
  }
}
