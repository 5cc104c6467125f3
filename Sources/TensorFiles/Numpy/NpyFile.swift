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
    let header = try NpyHeader(from: file)
    let expected = header.shape.elementCount * header.type.byteWidth
    let found = file.size - header.dataOffset
    guard expected == found else {
      throw file.failure(
        .wrongByteCount(
          tensor: nil, shape: header.shape.dimensions, type: "\(header.type)",
          expected: expected, found: found))
    }
    return try file.tensor(at: header.dataOffset, shape: header.shape, type: header.type)
  }

  /// Writes `tensor` to `path` as version 1.0, row-major, its elements rounded to `type`.
  ///
  /// The file appears complete or not at all; one that stood there before stays until then.
  ///
  /// - Throws: `TensorFileError` if the format cannot hold `type` (bfloat16), or the file cannot be
  ///   written.
  public static func write(
    _ tensor: HostTensor, as type: TensorElementType = .float32, to path: String
  ) throws(TensorFileError) {
    guard let descriptor = type.npyDescriptor else {
      throw TensorFileError(path: path, .unwritableElementType(type))
    }
    try AtomicFile.write(to: path) { output throws(TensorFileError) in
      try output.write(NpyHeader.encode(type: descriptor, shape: tensor.checkedShape))
      try output.write(tensor, as: type)
    }
  }
}
