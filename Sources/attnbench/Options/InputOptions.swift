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

  @OptionGroup var operands: OperandOptions

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
    name: .customLong("cu-seqlens"), parsing: .unconditional,
    help: """
      First row of each of several sequences that lie behind each other, and the number of all \
      rows: 0,5,9, or a file of shape [sequences + 1].
      """,
    transform: PathOption.parse)
  var sequenceStarts: String?

  @Option(
    name: .customLong("cu-seqlens-kv"), parsing: .unconditional,
    help: "The same of keys and values, where it differs.",
    transform: PathOption.parse)
  var keyStarts: String?

  /// Reads the tensors and what the strategy takes beside them.
  ///
  /// - Throws: `UsageError` for an operand that is missing, not taken or given twice and for options that
  ///   do not go together, `TensorFileError`, `FileProblemError`, `AttentionError`.
  func read(for choice: RunChoice) throws -> FileProblem {
    let arrangement = try arrangement()
    let inputs = try InputFiles.only(inputs)
    let (query, key, value) = try InputFiles.sources(
      inputs: inputs, query: query, key: key, value: value)
    let held = try inputs.map { try InputFiles.operands(inputs: $0, choice.operands) } ?? []
    try operands.check(for: choice, beside: held)
    let file = try FileProblem(
      query: query, key: key, value: value, arrangement: arrangement, past: past()
    ).adding(
      held + operands.files.map { (name: $0.name, source: try $0.source()) },
      declared: choice.operands, checksValues: false)
    // Before any work: can they be given beside such tensors?
    _ = try file.operands(choice.operands, for: file.shape)
    return file
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
      throw NumberList.fault(
        in: text, option: option,
        "must begin with 0, never fall, and end with the number of rows: 0,5,9 for sequences of 5 "
          + "and 4 rows")
    }
    return starts
  }
}
