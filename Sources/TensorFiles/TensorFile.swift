/// Reads and writes single tensors in either format, as the file's name tells.
public enum TensorFile {
  /// Reads the tensor `reference` names, as fp32.
  ///
  /// Without a selector a `.safetensors` file must hold exactly one tensor.
  ///
  /// - Throws: `TensorFileError` if the file or the tensor cannot be read.
  public static func read(_ reference: TensorReference) throws(TensorFileError) -> HostTensor {
    switch reference.format {
    case .npy:
      return try NpyFile.read(reference.path)
    case .safetensors:
      let file = try SafetensorsFile(reference.path)
      if let selector = reference.selector { return try file.read(selector) }
      let names = file.tensorNames
      guard names.count == 1 else {
        throw TensorFileError(path: reference.path, .tensorNotNamed(available: names))
      }
      return try file.read(names[0])
    }
  }

  /// Writes `tensor` to `path` in the format its extension tells, its elements rounded to `type`.
  ///
  /// The file appears complete or not at all.
  ///
  /// - Parameter name: The key of the tensor in a `.safetensors` file; `.npy` has none.
  /// - Throws: `TensorFileError` if the extension is neither, the format cannot hold `type`, or the
  ///   file cannot be written.
  public static func write(
    _ tensor: HostTensor, as type: TensorElementType = .float32, named name: String,
    to path: String
  ) throws(TensorFileError) {
    switch TensorReference.format(of: path) {
    case .npy:
      try NpyFile.write(tensor, as: type, to: path)
    case .safetensors:
      try SafetensorsFile.write([NamedTensor(name, tensor, as: type)], to: path)
    case nil:
      throw TensorFileError(path: path, .unknownExtension)
    }
  }
}
