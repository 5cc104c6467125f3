import SystemPackage

/// What is to be written of one tensor, whichever form it has in memory.
struct TensorContent: Sendable {
  private enum Source {
    case floats(HostTensor, as: FileElementType)
    case stored(FileTensor)
  }

  private let source: Source

  /// The elements of `tensor`, rounded to `type`, which `check` refuses unless it is floating point.
  init(_ tensor: HostTensor, as type: FileElementType) { source = .floats(tensor, as: type) }

  /// The elements of `tensor` as they are.
  init(_ tensor: FileTensor) { source = .stored(tensor) }

  var shape: FileShape {
    switch source {
    case .floats(let tensor, _): tensor.checkedShape
    case .stored(let tensor): tensor.checkedShape
    }
  }

  /// What the file will hold.
  var elementType: FileElementType {
    switch source {
    case .floats(_, let type): type
    case .stored(let tensor): tensor.elementType
    }
  }

  /// - Throws: `TensorFileError` for numbers that are to be stored as what holds none.
  func check(_ path: String) throws(TensorFileError) {
    if case .floats(_, let type) = source, type.kind != .floating {
      throw TensorFileError(path: path, .unwritableElementType(type))
    }
  }

  func write(to sink: OutputSink) throws(Errno) {
    switch source {
    case .floats(let tensor, let type):
      try tensor.withUnsafeElements { elements throws(Errno) in
        try Self.write(elements, as: type, to: sink)
      }
    case .stored(let tensor):
      try tensor.withUnsafeBytes { bytes throws(Errno) in try sink.write(bytes) }
    }
  }

  private static func write(
    _ elements: UnsafeBufferPointer<Float>, as type: FileElementType, to sink: OutputSink
  ) throws(Errno) {
    guard type != .float32 else { return try sink.write(UnsafeRawBufferPointer(elements)) }
    let chunk = ConversionChunk(type: type)
    for range in chunk.ranges(of: elements.count) {
      let bytes = chunk.bytes(for: range.count)
      ElementConversion.encode(
        UnsafeBufferPointer(rebasing: elements[range]), as: type, into: bytes)
      try sink.write(UnsafeRawBufferPointer(bytes))
    }
  }
}
