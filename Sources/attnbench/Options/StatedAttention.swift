import Attention
import AttentionBench
import TensorFiles

/// Scores and mask of a layer: what a file's metadata state, and what options say, which win.
struct StatedAttention {
  /// Everything but the sizes.
  let settings: ProblemSettings
  /// What it comes to and where each part comes from: `causal (the file's metadata)`.
  let description: String
  /// Where options contradict the metadata; each begins with the option.
  let contradictions: [String]
  /// Files that the options name, for errors about what they hold.
  let files: ArgumentFiles
  private let file: String
  /// The arguments of a problem that the file settles, as the library's errors name them.
  private let settled: Set<String>

  /// - Parameters:
  ///   - shape: of the problem.
  ///   - file: named in contradictions.
  ///   - logits: of a command that has them.
  ///   - window: likewise. It is a strategy, and where it is given the file's is not applied as well.
  /// - Throws: `UsageError` for options that cannot be meant, `TensorFileError` for those in files.
  init(
    _ options: MaskOptions, _ stated: InputMetadata.Attention, on shape: AttentionShape,
    file: String, logits: LogitOptions? = nil, window: WindowOptions? = nil
  ) throws {
    var settings = try options.settings()
    var parts: [String] = []
    var contradictions: [String] = []
    var settled: Set<String> = []
    func take(_ text: String, settling arguments: String...) {
      parts.append("\(text) (the file's metadata)")
      settled.formUnion(arguments)
    }
    func prefer(_ option: String, over own: String, unless isAlike: Bool) {
      if !isAlike { contradictions.append("\(option): \(file) says that \(own)") }
    }

    func text(_ causal: Bool) -> String { causal ? "causal" : "not causal" }
    switch (options.causality, stated.causal) {
    case (let causal?, let own):
      let option = causal ? "--causal" : "--no-causal"
      parts.append("\(text(causal)) (\(option))")
      if let own {
        prefer(option, over: "its attention is \(text(own))", unless: own == causal)
      }
    case (nil, let own?):
      settings.visibility.causal = own
      take(text(own), settling: "causal")
    case (nil, nil):
      parts.append("\(text(false)) (by default, nothing says otherwise)")
    }

    let usual = InputMetadata.Attention.Scale.usual
    switch (options.scale, stated.scale?.factor(headDim: shape.headDim)) {
    case (let scale?, let own):
      parts.append("scale \(scale) (--scale)")
      if let own {
        let isAlike = abs(scale - own) <= 1e-6 * abs(own)
        prefer("--scale \(scale)", over: "it is \(own)", unless: isAlike)
      }
    case (nil, let own?):
      if stated.scale != usual { settings.scoring.scale = own }
      take("scale \(own)", settling: "scale")
    case (nil, nil):
      parts.append("scale \(usual.factor(headDim: shape.headDim)) (1/sqrt(d), by default)")
    }

    let (softcap, sinks) = (logits?.softcap, try logits?.sinks())
    settings.scoring.softcap = softcap ?? stated.softcap
    settings.scoring.sinkLogits = sinks ?? stated.sinkLogits
    if let own = stated.softcap {
      if let softcap {
        prefer("--softcap \(softcap)", over: "it is \(own)", unless: softcap == own)
      } else {
        take("softcap \(own)", settling: "softcap")
      }
    }
    if let own = stated.sinkLogits {
      if let sinks {
        let option = "--sink-logits \(logits?.sinkLogits ?? "")"
        prefer(option, over: "its sink logits are others", unless: sinks == own)
      } else {
        take("sink logits", settling: "sinkLogits")
      }
    }
    if let own = stated.window {
      if let window, let option = window.given {
        let isAlike = window.isWindow(own, causal: settings.visibility.causal)
        prefer(option, over: "its own window is \(own) keys back", unless: isAlike)
      } else {
        (settings.visibility.windowLeft, settings.visibility.windowRight) = (own, own)
        take("own window of \(own) keys back", settling: "windowLeft", "windowRight")
      }
    }
    if let chunk = stated.chunk {
      settings.visibility.chunk = chunk
      take("own chunks of \(chunk) positions", settling: "chunk")
    }
    self.settings = settings
    files = options.positions.files
    description = parts.joined(separator: ", ")
    self.contradictions = contradictions
    self.file = file
    self.settled = settled
  }

  /// The same with the metadata of what `--inputs` names; nil for none, and then options alone say it.
  ///
  /// - Throws: as above, and `TensorFileError` and `FileProblemError` for metadata that cannot be read.
  init(
    _ options: MaskOptions, inputs: String?, on shape: AttentionShape,
    logits: LogitOptions? = nil, window: WindowOptions? = nil
  ) throws {
    let reference = try inputs.map { try TensorReference($0) }
    let metadata = try reference.map { try InputMetadata(path: $0.path) }
    try self.init(
      options, metadata?.attention(of: reference?.selector) ?? InputMetadata.Attention(),
      on: shape, file: reference?.path ?? "", logits: logits, window: window)
  }

  /// Whether the file states any of it that no option does.
  var isFromFile: Bool { !settled.isEmpty }

  /// The problem on a shape.
  ///
  /// - Throws: `UsageError` naming the option at fault, `FileProblemError` where the file is.
  func problem(on shape: AttentionShape, elements: Storage) throws -> AttentionProblem {
    var settings = settings
    settings.storage = elements
    do throws(AttentionError) {
      return try settings.problem(on: shape)
    } catch {
      throw files.holding(error) ?? naming(error)
    }
  }

  /// The library's error as the command line has it, or of the file where that states what is refused.
  func naming(_ error: AttentionError) -> any Error {
    guard settled.contains(error.argument) else { return UsageError.named(error) }
    return FileProblemError(
      source: "--inputs \(file)",
      problem: "states \(error.argument) = \(error.value) in its metadata: \(error.advice); --q, "
        + "--k and --v of run take its tensors without what it states")
  }

  /// Says what the file states, if anything, and where options contradict it.
  ///
  /// - Parameter inputs: of `--inputs`.
  func announce(_ inputs: String?) {
    if let inputs, isFromFile { Terminal.say("\(inputs): \(description)") }
    warn()
  }

  /// Says where options contradict the metadata.
  func warn() {
    for text in contradictions {
      Terminal.say("warning: \(text); the option wins, and results are not the model's")
    }
  }
}
