/// A buffer through which elements pass on their way between a file and fp32.
struct ConversionChunk: ~Copyable {
  private static let byteCount = 256 * 1024

  private let type: FileElementType
  private let buffer: UnsafeMutableRawBufferPointer

  init(type: FileElementType) {
    self.type = type
    buffer = .allocate(byteCount: Self.byteCount, alignment: AlignedMemory.alignment)
  }

  deinit {
    buffer.deallocate()
  }

  /// Cuts `elementCount` elements into ranges that fit the buffer.
  func ranges(of elementCount: Int) -> [Range<Int>] {
    let step = Self.byteCount / type.byteWidth
    return stride(from: 0, to: elementCount, by: step).map { start in
      start..<min(start + step, elementCount)
    }
  }

  /// The front of the buffer, as long as `elementCount` elements are in the file.
  func bytes(for elementCount: Int) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(rebasing: buffer[..<(elementCount * type.byteWidth)])
  }
}
