import Suggestions

/// The query, key and value tensors of one attention problem, as they came from files. Whether
/// their shapes agree is for the problem contract to say.
public struct AttentionInputs: Sendable {
  /// The names the three have in a file, alone or behind `<prefix>.`.
  public static let roles = ["q", "k", "v"]

  public let query: HostTensor
  public let key: HostTensor
  public let value: HostTensor

  /// Groups three tensors.
  public init(query: HostTensor, key: HostTensor, value: HostTensor) {
    self.query = query
    self.key = key
    self.value = value
  }

  /// Reads `q`, `k` and `v`, or `<prefix>.q`, ... where the reference has a selector.
  ///
  /// - Throws: `TensorFileError` if the file holds one array only (`.npy`), lacks one of the three
  ///   (the error then lists the prefixes it has), or cannot be read.
  public init(_ reference: TensorReference) throws(TensorFileError) {
    let (file, names) = try Self.find(reference)
    self.init(
      query: try file.read(names[0]), key: try file.read(names[1]), value: try file.read(names[2]))
  }

  /// The same three, in the order of `roles`, as they are stored.
  ///
  /// - Throws: `TensorFileError` as `init`.
  public static func readStored(
    _ reference: TensorReference
  ) throws(TensorFileError) -> [FileTensor] {
    let (file, names) = try find(reference)
    var tensors: [FileTensor] = []
    for name in names { tensors.append(try file.readStored(name, as: [.floating])) }
    return tensors
  }

  /// The file and the names of the three in it.
  private static func find(
    _ reference: TensorReference
  ) throws(TensorFileError) -> (SafetensorsFile, [String]) {
    guard reference.format == .safetensors else {
      throw TensorFileError(path: reference.path, .notAGroup)
    }
    let file = try SafetensorsFile(reference.path)
    let prefix = reference.selector.map { $0 + "." } ?? ""
    let missing = roles.map { prefix + $0 }.filter { file[$0] == nil }
    guard missing.isEmpty else {
      let prefixes = file.prefixes(having: roles)
      let nearest = reference.selector.map {
        NearestName.suggestions(for: $0, among: prefixes, limit: 3)
      }
      throw TensorFileError(
        path: reference.path,
        .noSuchGroup(
          prefix: reference.selector, missing: missing, nearest: nearest ?? [],
          prefixes: prefixes))
    }
    return (file, roles.map { prefix + $0 })
  }
}
