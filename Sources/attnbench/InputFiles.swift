import Attention
import AttentionBench
import TensorFiles

/// Reads tensors as the options name them.
package enum InputFiles {
  /// The one `--inputs` of a command that takes one.
  ///
  /// - Throws: `UsageError` for several.
  static func only(_ inputs: [String]) throws(UsageError) -> String? {
    guard inputs.count > 1 else { return inputs.first }
    throw UsageError(
      "--inputs \(inputs[1]): --inputs \(inputs[0]) was given, too, and this command takes one; "
        + "leave one out")
  }

  /// What `body` reads from `--inputs`; where that fails for want of q, k and v, because the file holds
  /// a model's weights, the error says so.
  private static func reading<Result>(
    _ reference: TensorReference, _ body: () throws -> Result
  ) throws -> Result {
    do {
      return try body()
    } catch let error as TensorFileError {
      guard case .noSuchGroup(_, _, _, let prefixes) = error.reason, prefixes.isEmpty,
        let weight = try SafetensorsFile(reference.path).tensorNames.first(where: {
          $0.hasSuffix(".weight")
        })
      else { throw error }
      throw FileProblemError(
        source: "--inputs \(reference.path)",
        problem:
          "holds the weights of a model ('\(weight)'), not the q, k and v that it makes of a "
          + "text; attnbench-model capture MODEL --text FILE -o qkv.safetensors writes those")
    }
  }

  /// `--inputs FILE.safetensors[:PREFIX]`, with those of the declared operands that it holds.
  ///
  /// - Throws: `TensorFileError`, `FileProblemError`, `AttentionError`.
  package static func problem(
    inputs argument: String, layout: TensorLayout, operands: [OperandDeclaration] = []
  ) throws -> FileProblem {
    let reference = try TensorReference(argument)
    let inputs = try reading(reference) { try AttentionInputs(reference) }
    let prefix = reference.selector.map { $0 + "." } ?? ""
    func source(_ tensor: HostTensor, _ role: String) -> FileProblem.Source {
      FileProblem.Source(tensor, name: "--inputs \(reference.path) (\(prefix)\(role))")
    }
    return try FileProblem(
      query: source(inputs.query, "q"), key: source(inputs.key, "k"),
      value: source(inputs.value, "v"), layout: layout
    ).adding(Self.operands(inputs: argument, operands), declared: operands)
  }

  /// The operands that `--inputs` holds beside q, k and v.
  ///
  /// - Throws: `TensorFileError`.
  static func operands(
    inputs: String, _ declarations: [OperandDeclaration]
  ) throws -> [(name: String, source: FileProblem.Source)] {
    if declarations.isEmpty { return [] }
    let reference = try TensorReference(inputs)
    let file = try SafetensorsFile(reference.path)
    return try Set(declarations.map(\.name)).sorted().compactMap { name in
      let key = (reference.selector.map { $0 + "." } ?? "") + name
      guard file[key] != nil else { return nil }
      let tensor = try file.readStored(key, as: [.floating])
      return (name, FileProblem.Source(tensor, name: "--inputs \(reference.path) (\(key))"))
    }
  }

  /// What `--inputs` names and what the file holds, for `meta.json`.
  ///
  /// - Throws: `TensorFileError`, `RecordError`.
  static func identity(inputs argument: String) throws -> RunMetadata.Inputs {
    let reference = try TensorReference(argument)
    return RunMetadata.Inputs(
      path: reference.path, prefix: reference.selector,
      content: try FileFingerprint(of: reference.path))
  }

  /// Query, key and value as they are stored: those of `--inputs`, or of `--q`, `--k` and `--v`.
  ///
  /// - Throws: `UsageError` when it is not the one or the other, `TensorFileError`.
  static func sources(
    inputs: String?, query: String?, key: String?, value: String?
  ) throws -> (query: FileProblem.Source, key: FileProblem.Source, value: FileProblem.Source) {
    switch (inputs, query, key, value) {
    case (let inputs?, nil, nil, nil):
      let reference = try TensorReference(inputs)
      let prefix = reference.selector.map { $0 + "." } ?? ""
      let tensors = try reading(reference) { try AttentionInputs.readStored(reference) }
      let sources = zip(AttentionInputs.roles, tensors).map { role, tensor in
        FileProblem.Source(tensor, name: "--inputs \(reference.path) (\(prefix)\(role))")
      }
      return (sources[0], sources[1], sources[2])
    case (nil, let query?, let key?, let value?):
      return try (source("--q", query), source("--k", key), source("--v", value))
    case (nil, _, _, _):
      throw UsageError("give --inputs FILE.safetensors, or all of --q, --k and --v")
    default:
      throw UsageError("--inputs holds q, k and v; leave out --q, --k and --v")
    }
  }

  /// A tensor of floating-point numbers, `FILE.npy` or `FILE.safetensors[:KEY]`, as stored.
  ///
  /// - Throws: `TensorFileError`.
  static func source(_ option: String, _ argument: String) throws -> FileProblem.Source {
    try source(argument, name: "\(option) \(argument)")
  }

  /// The same, named otherwise.
  ///
  /// - Throws: `TensorFileError`.
  static func source(_ argument: String, name: String) throws -> FileProblem.Source {
    FileProblem.Source(
      try TensorFile.readStored(TensorReference(argument), as: [.floating]), name: name)
  }

  /// The biases of keys that `--inputs` holds beside q, k and v; nil where there are none.
  ///
  /// - Throws: `TensorFileError`.
  static func keyBias(inputs argument: String) throws -> FileMask? {
    guard let (file, key, name) = try findKeyBias(argument) else { return nil }
    return FileMask(try file.readStored(key, as: [.floating]), name: name)
  }

  /// The words that name them; nil where there are none.
  ///
  /// - Throws: `TensorFileError`.
  static func keyBiasName(inputs argument: String) throws -> String? {
    try findKeyBias(argument)?.name
  }

  private static func findKeyBias(
    _ argument: String
  ) throws -> (file: SafetensorsFile, key: String, name: String)? {
    let reference = try TensorReference(argument)
    let file = try SafetensorsFile(reference.path)
    let key = (reference.selector.map { $0 + "." } ?? "") + "key_bias"
    return file[key] == nil ? nil : (file, key, "--inputs \(reference.path) (\(key))")
  }

  /// A mask or a bias.
  ///
  /// - Throws: `TensorFileError`.
  static func mask(
    _ option: String, _ argument: String, as kinds: [FileElementType.Kind]
  ) throws -> FileMask {
    FileMask(
      try TensorFile.readStored(TensorReference(argument), as: kinds),
      name: "\(option) \(argument)")
  }
}
