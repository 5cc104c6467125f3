import Foundation
import SystemPackage

/// A tensor to be written to a `.safetensors` file.
public struct NamedTensor: Sendable {
  /// Its key in the file.
  public let name: String
  let content: TensorContent

  /// Names `tensor`, to be stored as `elementType`.
  public init(_ name: String, _ tensor: HostTensor, as elementType: FileElementType = .float32) {
    self.name = name
    content = TensorContent(tensor, as: elementType)
  }

  /// Names `tensor`, to be stored as it is.
  public init(_ name: String, _ tensor: FileTensor) {
    self.name = name
    content = TensorContent(tensor)
  }

  /// Bytes an element will take.
  var byteWidth: Int { content.elementType.byteWidth }
}

extension SafetensorsFile {
  /// Writes `tensors` and `metadata` to `path`.
  ///
  /// The file appears complete or not at all; one that stood there before stays until then. Wider
  /// element types come first in it, so that every tensor is aligned.
  ///
  /// - Throws: `TensorFileError` if two tensors have the same name, one is named `__metadata__`, or
  ///   the file cannot be written.
  public static func write(
    _ tensors: [NamedTensor], metadata: [String: String] = [:], to path: String
  ) throws(TensorFileError) {
    try output(tensors, metadata: metadata, to: path).write()
  }

  static func output(
    _ tensors: [NamedTensor], metadata: [String: String] = [:], to path: String
  ) throws(TensorFileError) -> OutputFile {
    var names: Set = [SafetensorsHeader.metadataKey]
    for tensor in tensors where !names.insert(tensor.name).inserted {
      throw TensorFileError(path: path, .duplicateName(tensor.name))
    }
    for tensor in tensors { try tensor.content.check(path) }
    // A stable order: sorting does not promise one for equal widths.
    let ordered = tensors.enumerated().sorted { a, b in
      (-a.element.byteWidth, a.offset) < (-b.element.byteWidth, b.offset)
    }.map(\.element)
    let header = try attempt("encode the header", path) {
      try encodeHeader(ordered, metadata: metadata)
    }
    return OutputFile(path) { sink throws(Errno) in
      try sink.write(header)
      for tensor in ordered {
        try tensor.content.write(to: sink)
      }
    }
  }

  /// Length and JSON, padded with spaces so that the data begins on a 64-byte boundary.
  private static func encodeHeader(
    _ tensors: [NamedTensor], metadata: [String: String]
  ) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    func json(_ value: some Encodable) throws -> String {
      String(decoding: try encoder.encode(value), as: UTF8.self)
    }
    var members: [String] = []
    if !metadata.isEmpty {
      members.append("\"\(SafetensorsHeader.metadataKey)\":\(try json(metadata))")
    }
    var begin = 0
    for tensor in tensors {
      let end = begin + tensor.content.shape.elementCount * tensor.byteWidth
      members.append(
        "\(try json(tensor.name)):{\"dtype\":\"\(tensor.content.elementType.safetensorsName)\","
          + "\"shape\":\(try json(tensor.content.shape.dimensions)),\"data_offsets\":[\(begin),\(end)]}"
      )
      begin = end
    }
    var text = Array("{\(members.joined(separator: ","))}".utf8)
    let unaligned = (SafetensorsHeader.lengthWidth + text.count) % 64
    text += [UInt8](repeating: UInt8(ascii: " "), count: (64 - unaligned) % 64)
    return withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) } + text
  }
}
