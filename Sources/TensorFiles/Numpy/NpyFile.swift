import SystemPackage

/// NumPy's `.npy`: one array a file.
public enum NpyFile {
  /// Reads the array at `path` as fp32.
  ///
  /// Accepted are versions 1.0, 2.0 and 3.0, row-major, with little-endian float32, float64 or
  /// float16 elements. The file must hold the array and nothing else.
  ///
  /// - Throws: `TensorFileError` for everything else.
  public static func read(_ path: String) throws(TensorFileError) -> HostTensor {
    let file = try InputFile(path)
    let header = try NpyHeader(from: file, accepting: [.floating])
    try check(header, file)
    return try file.tensor(at: header.dataOffset, shape: header.shape, type: header.type)
  }

  /// Reads the array at `path` as it is stored: floating-point numbers as `read`, bool, or integers
  /// of up to 64 bits.
  ///
  /// - Parameter kinds: what is accepted.
  /// - Throws: `TensorFileError` for everything else.
  public static func readStored(
    _ path: String, as kinds: [FileElementType.Kind]
  ) throws(TensorFileError) -> FileTensor {
    let file = try InputFile(path)
    let header = try NpyHeader(from: file, accepting: kinds)
    try check(header, file)
    return try file.storedTensor(at: header.dataOffset, shape: header.shape, type: header.type)
  }

  private static func check(_ header: NpyHeader, _ file: InputFile) throws(TensorFileError) {
    let expected = header.shape.elementCount * header.type.byteWidth
    let found = file.size - header.dataOffset
    guard expected == found else {
      throw file.failure(
        .wrongByteCount(
          tensor: nil, shape: header.shape.dimensions,
          type: header.type.kind == .floating ? "\(header.type)" : header.descriptor,
          expected: expected, found: found))
    }
  }

  /// Writes `tensor` to `path` as version 1.0, row-major, its elements rounded to `type`.
  ///
  /// The file appears complete or not at all; one that stood there before stays until then.
  ///
  /// - Throws: `TensorFileError` if the format cannot hold `type` (bfloat16), or the file cannot be
  ///   written.
  public static func write(
    _ tensor: HostTensor, as type: FileElementType = .float32, to path: String
  ) throws(TensorFileError) {
    try output(TensorContent(tensor, as: type), to: path).write()
  }

  /// Writes `tensor` as it is stored, likewise.
  ///
  /// - Throws: as `write(_:as:to:)`.
  public static func write(_ tensor: FileTensor, to path: String) throws(TensorFileError) {
    try output(TensorContent(tensor), to: path).write()
  }

  static func output(
    _ content: TensorContent, to path: String
  ) throws(TensorFileError) -> OutputFile {
    try content.check(path)
    guard let descriptor = content.elementType.npyDescriptor else {
      throw TensorFileError(path: path, .unwritableElementType(content.elementType))
    }
    let header = NpyHeader.encode(type: descriptor, shape: content.shape)
    return OutputFile(path) { sink throws(Errno) in
      try sink.write(header)
      try content.write(to: sink)
    }
  }
}
