import ArgumentParser
import Attention
import AttentionBench
import TensorFiles

/// What to write, where, and as what.
struct OutputOptions: ParsableArguments {
  @Option(
    name: [.customShort("o"), .customLong("output")], help: "Output: .npy or .safetensors.",
    transform: PathOption.parse)
  var output: String

  @Option(
    help: "Write the natural logarithm of each row's denominator too.",
    transform: PathOption.parse)
  var lse: String?

  @Option(
    name: .customLong("present-k"),
    help: "Write what the keys have become: those of --past-k followed by those of --k.",
    transform: PathOption.parse)
  var presentKey: String?

  @Option(
    name: .customLong("present-v"), help: "Write the values, likewise.",
    transform: PathOption.parse)
  var presentValue: String?

  @Option(
    help:
      "Write the state after all tokens, [b, hKV, d, dV] in f32, of a recurrence such as gated.",
    transform: PathOption.parse)
  var presentState: String?

  @Option(
    help: """
      Write the score matrix too: [b, h, nQ, nKV], so for few rows. It is computed for this \
      alone; what hides pairs is the strategy's pattern.
      """,
    transform: PathOption.parse)
  var scores: String?

  @Option(
    parsing: .unconditional,
    help: """
      Which scores, as ONNX counts them: 0 scaled (default), 1 after the softcap, 2 after bias and \
      mask, 3 the weights after the softmax.
      """)
  var scoresMode: Int?

  @Option(
    help: """
      Element type of the output and the scores: f32, f16 or bf16 (.safetensors only); by default \
      that of the queries, as far as the file can hold it.
      """)
  var dtype: ElementType?

  /// A file asked for.
  private struct Request {
    let option: String
    let path: String
    /// The key in a `.safetensors` file.
    let name: String
  }

  private var requests: [Request] {
    [
      Request(option: "--output", path: output, name: "o"),
      lse.map { Request(option: "--lse", path: $0, name: "lse") },
      presentKey.map { Request(option: "--present-k", path: $0, name: "present_k") },
      presentValue.map { Request(option: "--present-v", path: $0, name: "present_v") },
      presentState.map { Request(option: "--present-state", path: $0, name: "state") },
      scores.map { Request(option: "--scores", path: $0, name: "scores") },
    ].compactMap { $0 }
  }

  /// The files, each once.
  var paths: [String] {
    requests.map(\.path).reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }

  /// What cannot be written should show before minutes are spent.
  ///
  /// - Parameter inputs: files that are no tensors: those may be replaced by tensors, these may not.
  /// - Throws: `UsageError`, `TensorFileError`.
  func check(reading inputs: [String]) throws {
    if let scoresMode {
      guard scores != nil else {
        throw UsageError("--scores-mode \(scoresMode): name the file with --scores")
      }
      guard ScoreStage.allCases.indices.contains(scoresMode) else {
        throw UsageError(
          "--scores-mode \(scoresMode): must be 0 (scaled), 1 (after the softcap), 2 (after bias and "
            + "mask) or 3 (weights)")
      }
    }
    var taken: [String: String] = [:]
    for request in requests {
      let isNumpy = request.path.hasSuffix(".npy")
      guard isNumpy || request.path.hasSuffix(".safetensors") else {
        throw TensorFileError(path: request.path, .unknownExtension)
      }
      let other = taken.updateValue(request.option, forKey: request.path)
      if let other, isNumpy {
        throw UsageError(
          "\(request.option) \(request.path): is the \(other.drop { $0 == "-" }) too, and a .npy "
            + "file holds one tensor")
      }
    }
    for path in [output, scores].compactMap({ $0 })
    where dtype == .bfloat16 && path.hasSuffix(".npy") {
      throw TensorFileError(path: path, .unwritableElementType(.bfloat16))
    }
    do {
      try OutputTransaction.check(paths, reading: inputs)
    } catch {
      guard case .sameFile(let other) = error.reason else { throw error }
      func named(_ path: String) -> String {
        (taken[path].map { "\($0) " } ?? "") + path
      }
      throw UsageError(
        "\(named(error.path)): is the same file as \(named(other)); give each a file of its own, or "
          + "write both into one .safetensors file under one name")
    }
  }

  /// The scores asked for.
  var scoreStage: ScoreStage? { scores.map { _ in ScoreStage.allCases[scoresMode ?? 0] } }

  /// As `check`, for what shows when the inputs have been read.
  ///
  /// - Throws: `TensorFileError`.
  func check(_ file: FileProblem) throws(TensorFileError) {
    for (path, tensor) in [(presentKey, file.present.key), (presentValue, file.present.value)] {
      guard let path, path.hasSuffix(".npy"), tensor.elementType.npyDescriptor == nil else {
        continue
      }
      throw TensorFileError(path: path, .unwritableElementType(.bfloat16))
    }
  }

  /// The element type of the output where the queries have `queries`.
  ///
  /// What a .npy file cannot hold, bf16, and what is not computed, fp64, comes out as fp32.
  func elementType(queries: FileElementType) -> FileElementType {
    elementType(queries, in: output)
  }

  private func elementType(_ queries: FileElementType, in path: String) -> FileElementType {
    if let type = dtype.flatMap(FileElementType.init) { return type }
    let isHeld = queries != .bfloat16 || !path.hasSuffix(".npy")
    return isHeld && queries != .float64 ? queries : .float32
  }

  /// Writes all or nothing.
  ///
  /// - Throws: `OutputError`, or a failed allocation.
  func write(_ result: AttentionRun, scores: FileTensor?, of file: FileProblem) throws {
    var content: [String: [NamedTensor]] = [:]
    for request in requests {
      let tensor: NamedTensor? =
        switch request.name {
        case "o":
          try Self.named(
            "o", result.output, as: elementType(file.queryType, in: request.path))
        case "scores":
          try scores.map {
            try Self.named("scores", $0, as: elementType(file.queryType, in: request.path))
          }
        // Rounding a logarithm to fp16 would cost three digits of every weight: it stays fp32.
        case "lse": result.logSumExp.map { NamedTensor("lse", $0) }
        case "state": result.finalState.map { NamedTensor("state", $0) }
        case "present_k": NamedTensor("present_k", file.present.key)
        default: NamedTensor("present_v", file.present.value)
        }
      if let tensor { content[request.path, default: []].append(tensor) }
    }
    try OutputTransaction(
      paths.compactMap { path in
        try content[path].map { try TensorFile.output($0, to: path) }
      }
    ).write()
  }

  private static func named(
    _ name: String, _ tensor: FileTensor, as type: FileElementType
  ) throws -> NamedTensor {
    guard tensor.elementType != type, let floats = try tensor.floats() else {
      return NamedTensor(name, tensor)
    }
    return NamedTensor(name, floats, as: type)
  }
}
