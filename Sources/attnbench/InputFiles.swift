import Attention
import AttentionBench
import TensorFiles

/// Reads query, key and value as the options name them.
enum InputFiles {
  /// `--inputs FILE.safetensors[:PREFIX]`.
  ///
  /// - Throws: `TensorFileError`, `FileProblemError`.
  static func problem(inputs argument: String, layout: TensorLayout) throws -> FileProblem {
    let reference = try TensorReference(argument)
    let inputs = try AttentionInputs(reference)
    let prefix = reference.selector.map { $0 + "." } ?? ""
    func source(_ tensor: HostTensor, _ role: String) -> FileProblem.Source {
      FileProblem.Source(tensor, name: "--inputs \(reference.path) (\(prefix)\(role))")
    }
    return try FileProblem(
      query: source(inputs.query, "q"), key: source(inputs.key, "k"),
      value: source(inputs.value, "v"), layout: layout)
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

  /// `--q`, `--k` and `--v`, each `FILE.npy` or `FILE.safetensors[:KEY]`.
  ///
  /// - Throws: `TensorFileError`, `FileProblemError`.
  static func problem(
    query: String, key: String, value: String, layout: TensorLayout
  ) throws -> FileProblem {
    func source(_ flag: String, _ argument: String) throws(TensorFileError) -> FileProblem.Source {
      let tensor = try TensorFile.read(TensorReference(argument))
      return FileProblem.Source(tensor, name: "\(flag) \(argument)")
    }
    return try FileProblem(
      query: source("--q", query), key: source("--k", key), value: source("--v", value),
      layout: layout)
  }
}
