import ArgumentParser
import Attention
import AttentionBench

/// Which rows are in use and which keys a query may see, beyond causality.
struct KeyOptions: ParsableArguments {
  @Option(
    help: """
      FILE.npy or FILE.safetensors:KEY of a shape that broadcasts to [b, h, nQ, nKV]: truth values, \
      true where a query may see a key, or numbers, which are added to the scores. Keys beyond a \
      shorter last axis are hidden.
      """,
    transform: PathOption.parse)
  var mask: String?

  @Option(
    name: .customLong("kv-lengths"), parsing: .unconditional,
    help: """
      Keys in use, one number a batch entry, as 100,87, or a file of shape [b]; what follows them \
      is padding.
      """)
  var keyLengths: String?

  @Option(
    parsing: .unconditional, help: "Queries in use, likewise; the rows after them come out as 0.")
  var queryLengths: String?

  @Option(
    parsing: .unconditional,
    help: "Leading keys that all queries see in spite of --causal, likewise.")
  var prefixLengths: String?

  /// Writes what was given into the settings.
  ///
  /// - Throws: `UsageError` naming what is no number, `TensorFileError`, or `FileProblemError` for
  ///   a mask that does not fit.
  func apply(to settings: inout ProblemSettings, _ shape: AttentionShape) throws {
    func lengths(_ text: String?, _ option: String) throws -> [Int]? {
      try text.map { try NumberList.integers($0, option: option) }
    }
    settings.visibility.keyLengths = try lengths(keyLengths, "--kv-lengths")
    settings.visibility.queryLengths = try lengths(queryLengths, "--query-lengths")
    settings.visibility.prefixLengths = try lengths(prefixLengths, "--prefix-lengths")
    guard let mask else { return }
    let file = try InputFiles.mask("--mask", mask, as: [.bool, .floating])
    if file.isBoolean {
      settings.visibility.mask = try file.mask(for: shape)
    } else {
      try settings.add(bias: file.bias(for: shape))
    }
  }

  /// The files named, for errors about what they hold.
  ///
  /// - Parameter settings: what was made of them.
  func files(of settings: ProblemSettings) -> ArgumentFiles {
    let masks = settings.visibility.mask == nil ? "bias" : "mask"
    return ArgumentFiles([
      mask.map { ArgumentFiles.File(masks, "--mask \($0)") },
      ArgumentFiles.File("keyLengths", option: "--kv-lengths", list: keyLengths),
      ArgumentFiles.File("queryLengths", option: "--query-lengths", list: queryLengths),
      ArgumentFiles.File("prefixLengths", option: "--prefix-lengths", list: prefixLengths),
    ])
  }

  /// The first length given, as typed.
  var givenLengths: String? {
    keyLengths.map { "--kv-lengths \($0)" } ?? queryLengths.map { "--query-lengths \($0)" }
  }

  /// The options that were given, for commands in which others decide: as typed.
  var given: [String] {
    [
      mask.map { "--mask \($0)" }, keyLengths.map { "--kv-lengths \($0)" },
      queryLengths.map { "--query-lengths \($0)" }, prefixLengths.map { "--prefix-lengths \($0)" },
    ].compactMap { $0 }
  }
}
