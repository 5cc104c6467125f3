import Suggestions

/// A `.safetensors` file open for reading: several named tensors.
///
/// Opening reads and checks the header only; ``read(_:)`` reads one tensor. The file stays open, so
/// that all tensors come from the same file even if another takes its name meanwhile.
public struct SafetensorsFile: Sendable {
  private let file: InputFile
  private let header: SafetensorsHeader

  /// Opens the file at `path` and checks its header as a whole, tensors not asked for included.
  ///
  /// - Throws: `TensorFileError` if the file cannot be opened or contradicts itself.
  public init(_ path: String) throws(TensorFileError) {
    file = try InputFile(path)
    header = try SafetensorsHeader(from: file)
  }

  /// The file, as the caller named it.
  public var path: String { file.path }

  /// The names of all tensors, sorted, those included whose element type is not read.
  public var tensorNames: [String] { header.entries.keys.sorted() }

  /// The strings of the file's `__metadata__`; empty without one.
  public var metadata: [String: String] { header.metadata }

  /// What the header says of the tensor `name`; nil if there is none.
  public subscript(name: String) -> SafetensorsEntry? { header.entries[name] }

  /// The prefixes p for which the file has `p.r` for every r of `roles`, sorted.
  ///
  /// `["q", "k", "v"]` gives `["layer0", "layer3"]` where the file has `layer0.q`, ... The three
  /// without a prefix do not count.
  public func prefixes(having roles: [String]) -> [String] {
    guard let first = roles.first else { return [] }
    return header.entries.keys.compactMap { name -> String? in
      guard name.hasSuffix("." + first) else { return nil }
      let prefix = String(name.dropLast(first.count + 1))
      return roles.allSatisfy { header.entries[prefix + "." + $0] != nil } ? prefix : nil
    }.sorted()
  }

  /// Reads the tensor `name` as fp32.
  ///
  /// - Throws: `TensorFileError` if there is none (the error then has the nearest names), its
  ///   element type is not read, it is a single number, or it holds a finite number that fp32 has no
  ///   room for.
  public func read(_ name: String) throws(TensorFileError) -> HostTensor {
    let (entry, type) = try entry(name, as: [.floating])
    return try file.tensor(
      name, at: header.dataOffset + entry.byteRange.lowerBound, shape: shape(of: entry), type: type)
  }

  /// Reads the tensor `name` as it is stored.
  ///
  /// - Parameter kinds: what is accepted.
  /// - Throws: `TensorFileError` as `read`, for what is not accepted here.
  public func readStored(
    _ name: String, as kinds: [FileElementType.Kind]
  ) throws(TensorFileError) -> FileTensor {
    let (entry, type) = try entry(name, as: kinds)
    return try file.storedTensor(
      at: header.dataOffset + entry.byteRange.lowerBound, shape: shape(of: entry), type: type)
  }

  private func entry(
    _ name: String, as kinds: [FileElementType.Kind]
  ) throws(TensorFileError) -> (SafetensorsEntry, FileElementType) {
    guard let entry = header.entries[name] else {
      throw file.failure(
        .noSuchTensor(
          name, nearest: NearestName.suggestions(for: name, among: tensorNames, limit: 3),
          prefixes: prefixes(having: AttentionInputs.roles)))
    }
    guard let type = entry.elementType, kinds.contains(type.kind) else {
      throw file.failure(
        .unexpectedElementType(tensor: name, found: entry.dtype, accepted: kinds))
    }
    return (entry, type)
  }

  private func shape(of entry: SafetensorsEntry) throws(TensorFileError) -> FileShape {
    do throws(FileShapeError) {
      return try FileShape(entry.shape)
    } catch {
      throw file.failure(.badShape(tensor: entry.name, error))
    }
  }
}
