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

  /// What can be written, by its key in a `.safetensors` file.
  private enum Content: String {
    case output = "o"
    case lse
    case presentKey = "present_k"
    case presentValue = "present_v"
    case state
    case scores

    var option: String {
      switch self {
      case .output: "--output"
      case .lse: "--lse"
      case .presentKey: "--present-k"
      case .presentValue: "--present-v"
      case .state: "--present-state"
      case .scores: "--scores"
      }
    }
  }

  private var requests: [(content: Content, path: String)] {
    let asked: [(Content, String?)] = [
      (.output, output), (.lse, lse), (.presentKey, presentKey), (.presentValue, presentValue),
      (.state, presentState), (.scores, scores),
    ]
    return asked.compactMap { content, path in path.map { (content, $0) } }
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
    var taken: [String: Content] = [:]
    var distinct: [NamedOutput?] = []
    for (content, path) in requests {
      let isNumpy = path.hasSuffix(".npy")
      guard isNumpy || path.hasSuffix(".safetensors") else {
        throw TensorFileError(path: path, .unknownExtension)
      }
      guard let other = taken.updateValue(content, forKey: path) else {
        distinct.append(NamedOutput(content.option, path))
        continue
      }
      if isNumpy {
        throw UsageError(
          "\(content.option) \(path): is the \(other.option.drop { $0 == "-" }) too, and a .npy file "
            + "holds one tensor")
      }
    }
    for path in [output, scores].compactMap({ $0 })
    where dtype == .bfloat16 && path.hasSuffix(".npy") {
      throw TensorFileError(path: path, .unwritableElementType(.bfloat16))
    }
    try OutputTransaction.check(
      distinct.compactMap { $0 }, reading: inputs,
      advice: "give each a file of its own, or write both into one .safetensors file under one name"
    )
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
    for (kind, path) in requests {
      let name = kind.rawValue
      let tensor: NamedTensor? =
        switch kind {
        case .output:
          try Self.named(name, result.output, as: elementType(file.queryType, in: path))
        case .scores:
          try scores.map { try Self.named(name, $0, as: elementType(file.queryType, in: path)) }
        // Rounding a logarithm to fp16 would cost three digits of every weight: it stays fp32.
        case .lse: result.logSumExp.map { NamedTensor(name, $0) }
        case .state: result.finalState.map { NamedTensor(name, $0) }
        case .presentKey: NamedTensor(name, file.present.key)
        case .presentValue: NamedTensor(name, file.present.value)
        }
      if let tensor { content[path, default: []].append(tensor) }
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
