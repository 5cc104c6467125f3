import ArgumentParser
import Attention
import AttentionBench

/// What becomes of the scores beyond their scale, in this order: softcap, then what is added.
struct LogitOptions: ParsableArguments {
  @Option(
    parsing: .unconditional, help: "Bound the scores: C tanh(score / C).",
    transform: FloatOption.parse)
  var softcap: Float?

  @Option(
    help: """
      Add numbers to the scores, FILE.npy or FILE.safetensors:KEY of a shape that broadcasts to \
      [b, h, nQ, nKV]; -inf hides a key.
      """,
    transform: PathOption.parse)
  var bias: String?

  @Option(
    help: """
      Add a number to all scores of a key, FILE.npy or FILE.safetensors:KEY of shape [b, hKV or h, nKV] or \
      [hKV or h, nKV]: forgetting attention has minus the running sum of its log forget gates here.
      """,
    transform: PathOption.parse)
  var keyBias: String?

  @Option(
    parsing: .unconditional,
    help: """
      Add -M |position - key| to the scores, with a slope M for each query head: numbers as \
      0.5,0.25, or a file of shape [h].
      """)
  var alibi: String?

  @Option(
    parsing: .unconditional,
    help: """
      A logit for each query head that joins the softmax without a value: numbers as -1,0.5, or \
      a file of shape [h].
      """)
  var sinkLogits: String?

  /// The numbers of `--sink-logits`. They stand among the scores, where an infinity is no number: finite
  /// ones stay finite.
  ///
  /// - Throws: `UsageError` naming what is no number, `TensorFileError`.
  func sinks() throws -> [Float]? {
    try sinkLogits.map { try NumberList.floats($0, option: "--sink-logits", .saturated) }
  }

  /// Writes what is added to the scores into the settings; a bias that is there already is added to.
  ///
  /// - Parameter inputs: of `--inputs`; its `key_bias`, where it has one, is taken as from `--key-bias`.
  /// - Throws: `UsageError` naming what is no number, `TensorFileError`, or `FileProblemError` for
  ///   a bias that does not fit.
  func apply(
    to settings: inout ProblemSettings, _ shape: AttentionShape, inputs: String?
  ) throws {
    settings.visibility.alibiSlopes = try alibi.map { try NumberList.floats($0, option: "--alibi") }
    if let file = try keyBias.map({ try InputFiles.mask("--key-bias", $0, as: [.floating]) })
      ?? inputs.flatMap({ try InputFiles.keyBias(inputs: $0) })
    {
      try settings.add(bias: file.keyBias(for: shape))
    }
    if let bias {
      try settings.add(bias: InputFiles.mask("--bias", bias, as: [.floating]).bias(for: shape))
    }
  }

  /// The files named, for errors about what they hold.
  ///
  /// - Parameter inputs: of `--inputs`, which may hold biases, too.
  /// - Throws: `TensorFileError`.
  func files(beside inputs: String?) throws -> ArgumentFiles {
    let held = keyBias == nil ? try inputs.flatMap { try InputFiles.keyBiasName(inputs: $0) } : nil
    return ArgumentFiles([
      keyBias.map { ArgumentFiles.File("bias", "--key-bias \($0)") },
      held.map { ArgumentFiles.File("bias", $0, isHeld: true) },
      bias.map { ArgumentFiles.File("bias", "--bias \($0)") },
      ArgumentFiles.File("alibiSlopes", option: "--alibi", list: alibi),
      ArgumentFiles.File("sinkLogits", option: "--sink-logits", list: sinkLogits),
    ])
  }

  /// The options that were given, for commands in which others decide: as typed.
  var given: [String] {
    [
      softcap.map { "--softcap \($0)" }, bias.map { "--bias \($0)" },
      keyBias.map { "--key-bias \($0)" },
      alibi.map { "--alibi \($0)" }, sinkLogits.map { "--sink-logits \($0)" },
    ].compactMap { $0 }
  }
}
