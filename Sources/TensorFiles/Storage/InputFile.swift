import SystemPackage

/// A regular file open for reading, of the size it had when it was opened.
///
/// Bytes are read, not mapped: a file that another process shortens meanwhile is then an error
/// and not a bus error. Reads carry their own offset, so one file may serve several threads.
final class InputFile: Sendable {
  let path: String
  let size: Int
  private let descriptor: FileDescriptor

  init(_ path: String) throws(TensorFileError) {
    self.path = path
    // Non-blocking, or opening a pipe would wait for a writer.
    let descriptor = try attempt("open", path) {
      try FileDescriptor.open(FilePath(path), .readOnly, options: [.closeOnExec, .nonBlocking])
    }
    // deinit does not run for an object whose initialiser throws.
    let status: Stat
    do throws(TensorFileError) {
      status = try attempt("read", path) { try Stat(descriptor) }
      guard status.type == .regular else { throw TensorFileError(path: path, .notARegularFile) }
    } catch {
      try? descriptor.close()
      throw error
    }
    size = Int(status.size)
    self.descriptor = descriptor
  }

  deinit {
    try? descriptor.close()
  }

  /// Fills `destination` with the bytes from `offset` on.
  func read(
    at offset: Int, into destination: UnsafeMutableRawBufferPointer
  ) throws(TensorFileError) {
    var done = 0
    while done < destination.count {
      let rest = UnsafeMutableRawBufferPointer(rebasing: destination[done...])
      let count = try attempt("read", path) {
        try descriptor.read(fromAbsoluteOffset: Int64(offset + done), into: rest)
      }
      // The caller stayed within `size`: the file has become shorter since.
      guard count > 0 else { throw failure(.system(operation: "read", errno: .ioError)) }
      done += count
    }
  }

  /// The bytes of a header: `count` of them from `offset` on.
  func bytes(at offset: Int, count: Int) throws(TensorFileError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var failure: TensorFileError?
    bytes.withUnsafeMutableBytes { buffer in
      do throws(TensorFileError) {
        try read(at: offset, into: buffer)
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return bytes
  }

  /// Decodes the elements of a tensor that lie from `offset` on.
  ///
  /// What is stored as fp32 goes straight to its place. The rest passes through a chunk that stays
  /// in the second-level cache, so that a file of gigabytes never lies in memory twice.
  ///
  /// - Parameter name: of the tensor, where the file can hold several.
  /// - Throws: also for a finite number that fp32 has no room for.
  func tensor(
    _ name: String? = nil, at offset: Int, shape: FileShape, type: FileElementType
  ) throws(TensorFileError) -> HostTensor {
    let memory = try allocate(shape, .float32)
    if type == .float32 {
      try read(at: offset, into: memory.bytes)
    } else {
      let floats = memory.bytes.bindMemory(to: Float.self)
      let chunk = ConversionChunk(type: type)
      for elements in chunk.ranges(of: shape.elementCount) {
        let bytes = chunk.bytes(for: elements.count)
        try read(at: offset + elements.lowerBound * type.byteWidth, into: bytes)
        if type == .float64,
          let found = ElementConversion.firstBeyondFloat32(UnsafeRawBufferPointer(bytes))
        {
          throw failure(
            .beyondFloat32(
              tensor: name,
              Float32RangeError(
                index: elements.lowerBound + found.index, shape: shape, value: found.value)))
        }
        ElementConversion.decode(
          UnsafeRawBufferPointer(bytes), as: type,
          into: UnsafeMutableBufferPointer(rebasing: floats[elements]))
      }
    }
    return HostTensor(shape: shape, sourceType: type, memory: memory)
  }

  /// Reads the elements of a tensor that lie from `offset` on as they are.
  func storedTensor(
    at offset: Int, shape: FileShape, type: FileElementType
  ) throws(TensorFileError) -> FileTensor {
    let memory = try allocate(shape, type)
    try read(at: offset, into: memory.bytes)
    return FileTensor(shape: shape, elementType: type, memory: memory)
  }

  private func allocate(
    _ shape: FileShape, _ type: FileElementType
  ) throws(TensorFileError) -> TensorMemory {
    do throws(TensorAllocationError) {
      return try FileTensor.allocate(shape, type)
    } catch {
      throw failure(.outOfMemory(error))
    }
  }

  func failure(_ reason: TensorFileError.Reason) -> TensorFileError {
    TensorFileError(path: path, reason)
  }
}
