import Attention
import AttentionBench

/// Scale and mask of a layer: what a file's metadata state, and what options say, which win.
struct StatedAttention {
  /// Everything but the sizes.
  let settings: ProblemSettings
  /// What it comes to and where each part comes from: `causal (the file's metadata)`.
  let description: String
  /// Where options contradict the metadata; each begins with the option.
  let contradictions: [String]

  /// - Parameters:
  ///   - shape: of the problem.
  ///   - file: named in contradictions.
  /// - Throws: `UsageError` for options that cannot be meant.
  init(
    _ options: MaskOptions, _ stated: InputMetadata.Attention, on shape: AttentionShape,
    file: String
  ) throws {
    var settings = try options.settings()
    var parts: [String] = []
    var contradictions: [String] = []
    let (fromFile, byDefault) = ("the file's metadata", "by default, nothing says otherwise")

    let causal = options.causality ?? stated.causal ?? false
    settings.visibility.causal = causal
    parts.append(
      (causal ? "causal" : "not causal")
        + (options.causality != nil
          ? " (\(causal ? "--causal" : "--no-causal"))"
          : " (\(stated.causal == nil ? byDefault : fromFile))"))
    if let option = options.causality, let stated = stated.causal, option != stated {
      contradictions.append(
        "\(option ? "--causal" : "--no-causal"): \(file) says that its attention is "
          + (stated ? "causal" : "not causal"))
    }

    let factor = stated.scale?.factor(headDim: shape.headDim)
    if options.scale == nil, case .value(let value)? = stated.scale {
      settings.scoring.scale = value
    }
    let used =
      settings.scoring.scale ?? InputMetadata.Attention.Scale.usual.factor(headDim: shape.headDim)
    parts.append(
      "scale \(used) ("
        + (options.scale != nil ? "--scale" : factor == nil ? "1/sqrt(d), by default" : fromFile)
        + ")")
    if let scale = options.scale, let factor, abs(scale - factor) > 1e-6 * abs(factor) {
      contradictions.append("--scale \(scale): \(file) says that it is \(factor)")
    }

    settings.scoring.softcap = stated.softcap
    settings.scoring.sinkLogits = stated.sinkLogits
    if let softcap = stated.softcap { parts.append("softcap \(softcap) (\(fromFile))") }
    if stated.sinkLogits != nil { parts.append("sink logits (\(fromFile))") }
    if let window = stated.window {
      (settings.visibility.windowLeft, settings.visibility.windowRight) = (window, window)
      parts.append("own window of \(window) keys back (\(fromFile))")
    }
    if let chunk = stated.chunk {
      settings.visibility.chunk = chunk
      parts.append("own chunks of \(chunk) positions (\(fromFile))")
    }
    self.settings = settings
    description = parts.joined(separator: ", ")
    self.contradictions = contradictions
  }

  /// The problem on a shape.
  ///
  /// - Throws: `UsageError` naming the option at fault.
  func problem(on shape: AttentionShape, elements: Storage) throws -> AttentionProblem {
    var settings = settings
    settings.storage = elements
    do throws(AttentionError) {
      return try settings.problem(on: shape)
    } catch {
      throw UsageError(naming: error)
    }
  }

  /// Says where options contradict the metadata.
  func warn() {
    for text in contradictions {
      Terminal.say("warning: \(text); the option wins, and errors are not the model's")
    }
  }
}
