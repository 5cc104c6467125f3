import ArgumentParser
import Attention
import AttentionBench

/// The sizes of a problem other than its query length.
struct ShapeOptions: ParsableArguments {
  @Option(parsing: .unconditional, help: "Sequences (default: 1).", transform: Count.parse)
  var batch: Int?

  @Option(parsing: .unconditional, help: "Query heads (default: 4).", transform: Count.parse)
  var heads: Int?

  @Option(
    parsing: .unconditional, help: "Key/value heads (default: as many as --heads).",
    transform: Count.parse)
  var kvHeads: Int?

  @Option(
    parsing: .unconditional, help: "Dimension of queries and keys (default: 64).",
    transform: Count.parse)
  var headDim: Int?

  @Option(
    parsing: .unconditional, help: "Dimension of values (default: as --head-dim).",
    transform: Count.parse)
  var valueDim: Int?

  @Option(
    name: .customLong("n-kv"), parsing: .unconditional,
    help: "Keys, as 1000, 1k or 1Ki (default: as many as queries).")
  var keyLength: String?

  /// The shape with `n` query rows.
  ///
  /// - Parameter decoded: how many keys there are where a sweep varies them instead.
  /// - Throws: `UsageError` naming the option at fault, or `PlanError` for `--n-kv`.
  func shape(queryLength n: Int, keyLength decoded: Int? = nil) throws -> AttentionShape {
    if decoded != nil, let keyLength {
      throw UsageError(
        "--n-kv \(keyLength): with --decode the sizes of --n are the numbers of keys; leave it out")
    }
    let keys = try decoded ?? keyLength.map { try SizeText.parse($0, argument: "--n-kv") }
    do throws(AttentionError) {
      return try AttentionShape(
        batch: batch ?? 1, heads: heads ?? 4, kvHeads: kvHeads, queryLength: n, keyLength: keys,
        headDim: headDim ?? 64, valueDim: valueDim)
    } catch {
      throw UsageError(naming: error)
    }
  }

  /// Refuses sizes beside tensors, which have their own.
  ///
  /// - Throws: `UsageError` naming the option.
  func refuse(beside inputs: String) throws(UsageError) {
    let sizes = [
      ("--batch", batch), ("--heads", heads), ("--kv-heads", kvHeads), ("--head-dim", headDim),
      ("--value-dim", valueDim),
    ]
    let given =
      sizes.compactMap { name, value in value.map { "\(name) \($0)" } }
      + [keyLength.map { "--n-kv \($0)" }].compactMap { $0 }
    if let option = given.first {
      throw UsageError(
        "\(option): the tensors of --inputs \(inputs) have sizes of their own; leave the option out"
      )
    }
  }
}
