import ArgumentParser
import Attention
import AttentionBench

/// Where queries stand among keys and whether they see ahead.
struct PositionOptions: ParsableArguments {
  @Flag(
    name: .customLong("causal"), inversion: .prefixedNo,
    help: "Let each query see only keys up to its own position.")
  var causality: Bool?

  /// Whether the mask is causal, as far as options say.
  var causal: Bool { causality ?? false }

  /// The corner a causal mask or a window is aligned to.
  enum Alignment: String, CaseIterable, ExpressibleByArgument {
    case topLeft = "top-left"
    case bottomRight = "bottom-right"
  }

  @Option(help: "The first query at the first key, or the last at the last (default).")
  var align: Alignment?

  @Option(
    parsing: .unconditional,
    help: """
      Query i stands at position i + N, instead of --align; a number, one a batch entry as 5,3, or \
      a file of shape [b].
      """)
  var queryOffset: String?

  /// The files named.
  var inputPaths: [String] { [InputPaths.tensor(queryOffset)].compactMap { $0 } }

  /// The same for errors about what they hold.
  var files: ArgumentFiles {
    ArgumentFiles([
      ArgumentFiles.File("offset", option: "--query-offset", list: queryOffset)
    ])
  }

  /// Whether one of the two ways to align was used.
  var isAligned: Bool { align != nil || queryOffset != nil }

  /// The alignment asked for.
  ///
  /// - Throws: `UsageError` when both ways to say it were used or one is no number, or
  ///   `TensorFileError` or `FileProblemError` where its file is at fault.
  func offset() throws -> QueryOffset {
    guard let queryOffset else { return align == .topLeft ? .topLeft : .bottomRight }
    if let align {
      throw UsageError(
        "--query-offset \(queryOffset): contradicts --align \(align.rawValue); give one of them")
    }
    let offsets = try NumberList.integers(queryOffset, option: "--query-offset")
    if let only = offsets.first, offsets.count == 1 { return .fixed(only) }
    return .perBatch(offsets)
  }
}

/// Scale and mask of a problem: what it is, beyond its sizes.
struct MaskOptions: ParsableArguments {
  @OptionGroup var positions: PositionOptions

  @Option(
    parsing: .unconditional, help: "Factor on the scores (default: 1/sqrt(head dim)).",
    transform: FloatOption.parse)
  var scale: Float?

  /// Whether the mask is causal.
  var causal: Bool { positions.causal }
  /// The same, nil where no option says it.
  var causality: Bool? { positions.causality }
  /// The corner asked for, if any.
  var align: PositionOptions.Alignment? { positions.align }
  /// The offset asked for, if any, as typed.
  var queryOffset: String? { positions.queryOffset }

  /// The settings these options make; others may be added to them.
  ///
  /// - Throws: as `PositionOptions.offset`.
  func settings() throws -> ProblemSettings {
    var settings = ProblemSettings()
    settings.scoring.scale = scale
    settings.visibility.causal = causal
    settings.visibility.offset = try positions.offset()
    return settings
  }

  /// The problem of this scale and mask on a shape.
  ///
  /// - Parameter causal: overrides the flag.
  /// - Throws: `UsageError` naming the option at fault, `TensorFileError`, `FileProblemError`.
  func problem(
    _ shape: AttentionShape, causal: Bool? = nil, elements: Storage = Storage()
  ) throws -> AttentionProblem {
    var settings = try settings()
    if let causal { settings.visibility.causal = causal }
    settings.storage = elements
    do throws(AttentionError) {
      return try settings.problem(on: shape)
    } catch {
      throw positions.files.holding(error) ?? UsageError(naming: error)
    }
  }
}

extension UsageError {
  /// The option by which the command line sets an argument of the library.
  private static let options = [
    "batch": "--batch", "heads": "--heads", "kvHeads": "--kv-heads", "queryLength": "--n",
    "keyLength": "--n-kv", "headDim": "--head-dim", "valueDim": "--value-dim",
    "scale": "--scale", "offset": "--query-offset", "head": "--head",
    "queryLengths": "--query-lengths", "keyLengths": "--kv-lengths",
    "prefixLengths": "--prefix-lengths", "mask": "--mask", "bias": "--bias",
    "alibiSlopes": "--alibi", "softcap": "--softcap", "sinkLogits": "--sink-logits",
    "scores": "--scores",
  ]

  /// The library's error, with its argument named as the command line names it.
  init(naming error: AttentionError) {
    if let option = Self.options[error.argument] {
      let advice = error.advice.replacing("kvHeads", with: "kv-heads")
        .replacing("headDim", with: "head-dim")
      self.init("\(option) \(error.value): \(advice)")
    } else {
      self.init(error.description)
    }
  }

  /// The library's error, likewise, where an option is at fault; the error itself where not, as
  /// when memory is short.
  static func named(_ error: AttentionError) -> any Error {
    options[error.argument] == nil ? error : UsageError(naming: error)
  }
}
