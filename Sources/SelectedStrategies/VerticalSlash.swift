import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// MInference's vertical-slash pattern: the last queries of each head say which keys and which distances
/// matter, and every query attends to those.
///
/// The weights of the last 64 queries are summed by key and by distance; the best `columns` keys and the best
/// `diagonals` distances are kept, the distance 0 always among them, under the causal mask. The pattern follows
/// from the last queries, so that a later token changes what earlier queries attend to: right for prefill that
/// stands in for full attention, not a causal model of its own. About n (columns + diagonals) pairs a head, and
/// 64 n products of d for the choice.
///
/// Jiang 2024, arXiv 2407.02490 (MInference).
public struct VerticalSlash: KeySelectingStrategy {
  public static let family = StrategyFamily(
    "vertical_slash", operatorClass: .restricted,
    summary: "keys and distances that the last queries attend to: later tokens decide for earlier",
    source: "Jiang 2024, arXiv 2407.02490",
    parameters: [
      StrategyParameter("columns", "keys that are kept (default 1024)"),
      StrategyParameter("diagonals", "distances that are kept, 0 included (default 1024)"),
    ], laterRowsDecide: true, isSweptByDefault: false, candidates: candidateSeries
  ) { arguments throws(AttentionError) in try VerticalSlash(arguments) }

  /// Queries that decide: the paper's number.
  private static let decidingRows = 64

  private let columns: Int
  private let diagonals: Int
  private let stated: (columns: Int?, diagonals: Int?)

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    stated = (
      try arguments.integer("columns", atLeast: 1), try arguments.integer("diagonals", atLeast: 1)
    )
    columns = stated.columns ?? 1024
    diagonals = stated.diagonals ?? 1024
  }

  public func resolvedParameters(for problem: AttentionProblem) -> String {
    "\(columns), \(diagonals)"
  }

  public func excess(for problem: AttentionProblem) -> AttentionError? {
    let keys = problem.shape.keyLength
    return excess("columns", stated.columns, of: keys, "keys")
      ?? excess("diagonals", stated.diagonals, of: keys, "distances")
  }

  public func selection(for problem: AttentionProblem) -> KeySelection {
    .stripes(
      StripeSelection(columns: columns, diagonals: diagonals, rows: Self.decidingRows))
  }

  /// As many columns as diagonals, up to an eighth of the keys each. A search has none of them, since its time
  /// does not reach for more series at 32k tokens; name them to have them tried.
  private static func candidateSeries(
    _ problem: AttentionProblem, _ density: SearchDensity
  ) -> [[String]] {
    if density == .search { return [] }
    return [
      density.sizes(from: 16, through: problem.shape.keyLength / 8)
        .map { "\(family.name)(\($0), \($0))" }
    ].filter { !$0.isEmpty }
  }
}
