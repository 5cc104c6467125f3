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
      return try file.read(name(reference, in: file))
    }
  }

  /// Reads the tensor `reference` names as it is stored.
  ///
  /// - Parameter kinds: what is accepted.
  /// - Throws: `TensorFileError` if the file or the tensor cannot be read or is of another kind.
  public static func readStored(
    _ reference: TensorReference, as kinds: [FileElementType.Kind]
  ) throws(TensorFileError) -> FileTensor {
    switch reference.format {
    case .npy:
      return try NpyFile.readStored(reference.path, as: kinds)
    case .safetensors:
      let file = try SafetensorsFile(reference.path)
      return try file.readStored(name(reference, in: file), as: kinds)
    }
  }

  /// The tensor meant: the one named, or the only one.
  private static func name(
    _ reference: TensorReference, in file: SafetensorsFile
  ) throws(TensorFileError) -> String {
    if let selector = reference.selector { return selector }
    let names = file.tensorNames
    guard names.count == 1 else {
      throw TensorFileError(path: reference.path, .tensorNotNamed(available: names))
    }
    return names[0]
  }

  /// Writes `tensor` to `path` in the format its extension tells, its elements rounded to `type`.
  ///
  /// The file appears complete or not at all.
  ///
  /// - Parameter name: The key of the tensor in a `.safetensors` file; `.npy` has none.
  /// - Throws: `TensorFileError` if the extension is neither, the format cannot hold `type`, or the
  ///   file cannot be written.
  public static func write(
    _ tensor: HostTensor, as type: FileElementType = .float32, named name: String,
    to path: String
  ) throws(TensorFileError) {
    try write(NamedTensor(name, tensor, as: type), to: path)
  }

  /// Writes `tensor` to `path`, likewise; its name is the key in a `.safetensors` file.
  ///
  /// - Throws: as `write(_:as:named:to:)`.
  public static func write(_ tensor: NamedTensor, to path: String) throws(TensorFileError) {
    try output([tensor], to: path).write()
  }

  /// A file that holds `tensors`, to be written with the other outputs of a command.
  ///
  /// - Throws: `TensorFileError` if the extension is neither, or the format cannot hold them.
  package static func output(
    _ tensors: [NamedTensor], to path: String
  ) throws(TensorFileError) -> OutputFile {
    switch TensorReference.format(of: path) {
    case .npy:
      guard let tensor = tensors.first, tensors.count == 1 else {
        throw TensorFileError(path: path, .severalTensors(tensors.map(\.name)))
      }
      return try NpyFile.output(tensor.content, to: path)
    case .safetensors: return try SafetensorsFile.output(tensors, to: path)
    case nil: throw TensorFileError(path: path, .unknownExtension)
    }
  }
}

extension OutputFile {
  /// Writes this file alone.
  func write() throws(TensorFileError) {
    do throws(OutputError) {
      try OutputTransaction([self]).commit()
    } catch {
      throw TensorFileError(path: error.path, .output(error))
    }
  }
}
