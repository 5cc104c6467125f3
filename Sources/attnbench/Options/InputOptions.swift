import ArgumentParser
import Attention
import AttentionBench
import TensorFiles

/// Where query, key and value come from and how their axes are to be read.
struct InputOptions: ParsableArguments {
  /// The values of `--layout`.
  enum Layout: String, CaseIterable, ExpressibleByArgument {
    case bhnd
    case bnhd
    /// All heads of a row in one axis.
    case bnd
  }

  @Option(
    help: "q, k and v in one file: FILE.safetensors or FILE.safetensors:PREFIX.",
    transform: PathOption.parse)
  var inputs: [String] = []

  @Option(
    name: .customLong("q"), help: "Queries: FILE.npy or FILE.safetensors:KEY.",
    transform: PathOption.parse)
  var query: String?

  @Option(
    name: .customLong("k"), help: "Keys, likewise.",
    transform: PathOption.parse)
  var key: String?

  @Option(
    name: .customLong("v"), help: "Values, likewise.",
    transform: PathOption.parse)
  var value: String?

  @Option(
    name: .customLong("operand"),
    help: ArgumentHelp(
      "What the strategy takes beyond q, k and v, once each: decay=FILE.npy or "
        + "decay=FILE.safetensors:KEY, with the axes that attnbench list shows, whatever --layout.",
      valueName: "name=file"))
  var operands: [String] = []

  @Option(
    help: "The operand decay: FILE.npy or FILE.safetensors:KEY.",
    transform: PathOption.parse)
  var decay: String?

  @Option(
    help: "The operand beta, likewise.",
    transform: PathOption.parse)
  var beta: String?

  @Option(
    help: "The operand erase, likewise.",
    transform: PathOption.parse)
  var erase: String?

  @Option(
    help: "The operand write, likewise.",
    transform: PathOption.parse)
  var write: String?

  @Option(
    help: "The operand gate, likewise.",
    transform: PathOption.parse)
  var gate: String?

  @Option(
    help: "The operand index_q, likewise.",
    transform: PathOption.parse)
  var indexQ: String?

  @Option(
    help: "The operand index_k, likewise.",
    transform: PathOption.parse)
  var indexK: String?

  @Option(
    help: "The operand index_w, likewise.",
    transform: PathOption.parse)
  var indexW: String?

  @Option(
    help: "The operand state, likewise: the state of a recurrence to begin with.",
    transform: PathOption.parse)
  var pastState: String?

  @Option(
    name: .customLong("past-k"),
    help: "Keys that come before those of --k: queries stand behind them. With --past-v.",
    transform: PathOption.parse)
  var pastKey: String?

  @Option(
    name: .customLong("past-v"), help: "Values that come before those of --v.",
    transform: PathOption.parse)
  var pastValue: String?

  @Option(
    help: """
      Order of the axes of all tensors: bhnd, bnhd, or bnd for [b, n, heads x d]; then give --heads.
      """)
  var layout = Layout.bhnd

  @Option(
    parsing: .unconditional, help: "Query heads in the last axis of --layout bnd.",
    transform: Count.parse)
  var heads: Int?

  @Option(
    parsing: .unconditional, help: "Key/value heads there (default: as many as --heads).",
    transform: Count.parse)
  var kvHeads: Int?

  @Option(
    name: .customLong("cu-seqlens"),
    help: """
      First row of each of several sequences that lie behind each other, and the number of all \
      rows: 0,5,9, or a file of shape [sequences + 1].
      """,
    transform: PathOption.parse)
  var sequenceStarts: String?

  @Option(
    name: .customLong("cu-seqlens-kv"), help: "The same of keys and values, where it differs.",
    transform: PathOption.parse)
  var keyStarts: String?

  /// Reads the tensors.
  ///
  /// - Parameter declarations: the operands that the strategy takes beyond the three.
  /// - Throws: `AttentionError` for an operand that is missing, not taken or not valid, `UsageError` for
  ///   options that do not go together, `TensorFileError`, `FileProblemError`.
  func read(operands declarations: [OperandDeclaration]) throws -> FileProblem {
    let arrangement = try arrangement()
    let inputs = try InputFiles.only(inputs)
    let (query, key, value) = try InputFiles.sources(
      inputs: inputs, query: query, key: key, value: value)
    let file = try FileProblem(
      query: query, key: key, value: value, arrangement: arrangement, past: past()
    ).adding(
      InputFiles.operands(inputs: inputs, operands + namedOperands, declarations),
      declared: declarations)
    // Before any work: is all there that the strategy takes?
    _ = try file.operands(declarations, for: file.shape)
    return file
  }

  /// Operands with an option of their own, as `--operand` has them.
  private var namedOperands: [String] {
    [
      ("decay", decay), ("beta", beta), ("erase", erase), ("write", write), ("gate", gate),
      ("index_q", indexQ), ("index_k", indexK), ("index_w", indexW), ("state", pastState),
    ].compactMap { name, file in file.map { "\(name)=\($0)" } }
  }

  private func past() throws -> PastCache? {
    switch (pastKey, pastValue) {
    case (nil, nil): return nil
    case (let key?, let value?):
      if let sequenceStarts {
        throw UsageError(
          "--past-k \(key): sequences behind each other (--cu-seqlens \(sequenceStarts)) leave no "
            + "room to append; put the past into --k and --v and give --cu-seqlens-kv")
      }
      return try PastCache(
        key: InputFiles.source("--past-k", key), value: InputFiles.source("--past-v", value))
    case (let key?, nil): throw UsageError("--past-k \(key): give --past-v, too")
    case (nil, let value?): throw UsageError("--past-v \(value): give --past-k, too")
    }
  }

  private func arrangement() throws -> FileArrangement {
    var arrangement = FileArrangement(layout == .bhnd ? .bhnd : .bnhd)
    if layout == .bnd {
      guard let heads else {
        throw UsageError(
          "--layout bnd: the last axis holds all heads; say how many with --heads and --kv-heads")
      }
      for (option, count) in [("--heads", heads), ("--kv-heads", kvHeads ?? heads)] where count < 1
      {
        throw UsageError("\(option) \(count): must be at least 1")
      }
      arrangement.foldedHeads = .init(query: heads, keyValue: kvHeads ?? heads)
    } else if let given = heads.map({ "--heads \($0)" }) ?? kvHeads.map({ "--kv-heads \($0)" }) {
      throw UsageError(
        "\(given): tensors of --layout \(layout.rawValue) have an axis for heads; it is for "
          + "--layout bnd")
    }
    if let sequenceStarts {
      let starts = try Self.starts(sequenceStarts, option: "--cu-seqlens")
      let keyStarts = try keyStarts.map { try Self.starts($0, option: "--cu-seqlens-kv") } ?? starts
      guard starts.count == keyStarts.count else {
        throw UsageError(
          "--cu-seqlens-kv: has \(keyStarts.count - 1) sequences and --cu-seqlens "
            + "\(starts.count - 1); they must agree")
      }
      arrangement.sequenceStarts = (starts, keyStarts)
    } else if let keyStarts {
      throw UsageError("--cu-seqlens-kv \(keyStarts): give --cu-seqlens for the queries, too")
    }
    return arrangement
  }

  private static func starts(_ text: String, option: String) throws -> [Int] {
    let starts = try NumberList.integers(text, option: option)
    guard starts.count >= 2, starts.first == 0, zip(starts, starts.dropFirst()).allSatisfy(<=)
    else {
      throw UsageError(
        "\(option) \(text): must begin with 0, never fall, and end with the number of rows: 0,5,9 "
          + "for sequences of 5 and 4 rows")
    }
    return starts
  }
}
