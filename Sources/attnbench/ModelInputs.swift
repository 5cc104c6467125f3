import Attention
import AttentionBench
import TensorFiles

/// A file with q, k and v of several layers of a model: `layer0.q`, ...
struct ModelInputs {
  /// One layer.
  struct Layer {
    let number: Int
    let prefix: String
    let shape: AttentionShape
  }

  let path: String
  let metadata: InputMetadata
  /// In the order of their numbers.
  let layers: [Layer]
  /// How the first layer's queries are stored, as the file spells it.
  let elementType: String

  /// All layers of the file that `--inputs` names without a prefix.
  ///
  /// Reads the file's header only.
  ///
  /// - Returns: nil where a prefix is given, or q, k and v stand in the file without one, or none do.
  /// - Throws: `TensorFileError`, `FileProblemError`, `UsageError` for prefixes without a number.
  static func find(_ argument: String) throws -> ModelInputs? {
    let reference = try TensorReference(argument)
    guard reference.selector == nil, reference.format == .safetensors else { return nil }
    let file = try SafetensorsFile(reference.path)
    let roles = AttentionInputs.roles
    let prefixes = file.prefixes(having: roles)
    if prefixes.isEmpty || roles.allSatisfy({ file[$0] != nil }) { return nil }
    var layers: [Int: Layer] = [:]
    for prefix in prefixes {
      guard let number = ModelLayer.number(of: prefix) else {
        throw UsageError(
          "--inputs \(argument): the prefix '\(prefix)' ends in no layer number, as layer3 does; name "
            + "one prefix as \(argument):\(prefix)")
      }
      if let other = layers[number] {
        throw UsageError(
          "--inputs \(argument): '\(other.prefix)' and '\(prefix)' are both layer \(number); name one "
            + "prefix as \(argument):\(prefix)")
      }
      layers[number] = Layer(
        number: number, prefix: prefix,
        shape: try shape(roles.compactMap { file["\(prefix).\($0)"]?.shape })
          ?? problem(reference.path, prefix).shape)
    }
    return ModelInputs(
      path: reference.path,
      metadata: try InputMetadata(
        file.metadata, path: reference.path, prefixes: prefixes),
      layers: layers.values.sorted { $0.number < $1.number },
      elementType: file["\(prefixes[0]).q"]?.dtype.lowercased() ?? "")
  }

  /// The tensors of one layer.
  ///
  /// - Throws: `TensorFileError`, `FileProblemError`.
  static func problem(_ path: String, _ prefix: String) throws -> FileProblem {
    try InputFiles.problem(inputs: "\(path):\(prefix)", layout: .bhnd)
  }

  /// The shape of q, k and v as the header states them; nil for what has to be read to be refused with
  /// all that is wrong.
  private static func shape(_ sizes: [[Int]]) throws -> AttentionShape? {
    guard sizes.count == 3, sizes.allSatisfy({ $0.count == 3 || $0.count == 4 }) else { return nil }
    let full = sizes.map { $0.count == 3 ? [1] + $0 : $0 }
    let (q, k, v) = (full[0], full[1], full[2])
    guard q[0] == k[0], q[0] == v[0], k[1] == v[1], k[2] == v[2], q[3] == k[3], k[1] > 0,
      q[1] % k[1] == 0
    else { return nil }
    return try? AttentionShape(
      batch: q[0], heads: q[1], kvHeads: k[1], queryLength: q[2], keyLength: k[2], headDim: q[3],
      valueDim: v[3])
  }
}

extension AttentionShape {
  /// The first `n` queries and keys.
  ///
  /// - Throws: `PlanError` where there are not as many.
  func first(_ n: Int, of prefix: String) throws -> AttentionShape {
    let rows = min(queryLength, keyLength)
    guard n <= rows else {
      throw PlanError(
        argument: "--n", value: "\(n)", rule: "the tensors of \(prefix) have \(rows) rows",
        fix: "use a size up to \(rows)")
    }
    return try AttentionShape(
      batch: batch, heads: heads, kvHeads: kvHeads, queryLength: n, keyLength: n,
      headDim: headDim, valueDim: valueDim)
  }
}
