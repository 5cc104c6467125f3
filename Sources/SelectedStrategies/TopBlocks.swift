import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// Mixture of block attention: every query sees its own block of keys and the blocks before it whose mean key
/// has the largest products with it.
///
/// Blocks of `block` keys; `top` of them are kept, the own one included, which a causal mask cuts. `rows`
/// consecutive queries share a selection, by their mean: 1 is the paper's rule; 64 or 128 is what prefill
/// with sparse blocks does, and then a query's selection depends on the group's later queries. The mean of
/// keys and of queries is over rows in use. About n top block pairs a head, and n / rows times n / block
/// products of d for the selection.
///
/// Lu 2025, arXiv 2502.13189 (MoBA).
public struct TopBlocks: BlockSelectingStrategy {
  public static let family = StrategyFamily(
    "topblocks", operatorClass: .restricted,
    summary: "the own block of keys and the blocks with the best mean key",
    source: "Lu 2025, arXiv 2502.13189",
    parameters: [
      StrategyParameter("block", "keys of a block (default 64)"),
      StrategyParameter("top", "blocks that are kept, the own one included (default 16)"),
      StrategyParameter("rows", "consecutive queries that share a selection (default 1)"),
    ], candidates: candidateSeries
  ) { arguments throws(AttentionError) in try TopBlocks(arguments) }

  private let selection: BlockSelection
  private let statedTop: Int?

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    let block = try arguments.integer("block", atLeast: 1) ?? 64
    statedTop = try arguments.integer("top", atLeast: 1)
    selection = BlockSelection(
      block: block, top: statedTop ?? 16,
      rows: try arguments.integer("rows", atLeast: 1) ?? 1)
  }

  public func resolvedParameters(for problem: AttentionProblem) -> String {
    "\(selection.block), \(selection.top)"
      + (selection.rows == 1 ? "" : ", rows: \(selection.rows)")
  }

  public func excess(for problem: AttentionProblem) -> AttentionError? {
    excess(
      "top", statedTop, of: selection.blockCount(problem.shape.keyLength),
      "blocks of \(selection.block) keys")
  }

  public func selection(for problem: AttentionProblem) -> BlockSelection { selection }

  /// From two blocks to half of all, shared by 64 queries, since a search is for what is fast.
  private static func candidateSeries(
    _ problem: AttentionProblem, _ density: SearchDensity
  ) -> [[String]] {
    let blocks = (problem.shape.keyLength + 63) / 64
    let rows = min(64, problem.shape.queryLength)
    return [
      density.sizes(from: 2, through: blocks / 2).map { "\(family.name)(64, \($0), rows: \(rows))" }
    ].filter { !$0.isEmpty }
  }
}
