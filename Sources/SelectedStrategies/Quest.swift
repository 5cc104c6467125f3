import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// Quest: of every page of keys the largest and the least number of each channel are kept, which bound the
/// score of any key in it; a query attends to the pages with the best bounds.
///
/// The bound of a page is the sum over channels of max(q_c largest_c, q_c least_c). `top` pages of `page` keys
/// are kept for each query head, the own one included, which a causal mask cuts: made for decoding, where the
/// own page is the last, partly filled one. A decoder keeps the extremes of the pages beside its cache. About
/// n top page pairs a head, and n products of 2 d with each of n / page pages for the selection.
///
/// Tang 2024, arXiv 2406.10774.
public struct Quest: BlockSelectingStrategy {
  public static let family = StrategyFamily(
    "quest", operatorClass: .restricted,
    summary: "the own page of keys and the pages whose scores may be the largest",
    source: "Tang 2024, arXiv 2406.10774",
    parameters: [
      StrategyParameter(
        "page", "keys of a page (default: that of a paged cache, otherwise \(defaultPage))"),
      StrategyParameter("top", "pages that are kept, the own one included (default 64)"),
    ], isSweptByDefault: false, candidates: candidateSeries
  ) { arguments throws(AttentionError) in try Quest(arguments) }

  private static let defaultPage = 16
  private static let mostQueries = 16

  private let page: Int?
  private let top: Int
  private let statedTop: Int?

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    page = try arguments.integer("page", atLeast: 1)
    statedTop = try arguments.integer("top", atLeast: 1)
    top = statedTop ?? 64
  }

  public func resolvedParameters(for problem: AttentionProblem) -> String {
    "\(page ?? Self.defaultPage), \(top)"
  }

  public func excess(for problem: AttentionProblem) -> AttentionError? {
    let own = selection(for: problem)
    return excess(
      "top", statedTop, of: own.blockCount(problem.shape.keyLength), "pages of \(own.block) keys")
  }

  public func selection(for problem: AttentionProblem) -> BlockSelection {
    selection(page ?? Self.defaultPage)
  }

  private func selection(_ page: Int) -> BlockSelection {
    BlockSelection(block: page, top: top, rows: 1, score: .bound)
  }

  public func selection(
    for problem: AttentionProblem, over cache: any KeyValueCache
  ) throws(AttentionError) -> BlockSelection {
    guard let rows = (cache as? PagedCache)?.pool.pageRows else { return selection(for: problem) }
    if let page, page != rows {
      throw AttentionError(
        .invalidArgument, argument: "quest page", value: page,
        advice: "the cache's pages have \(rows) rows: write quest(\(rows), \(top)), or make its "
          + "pool with pageRows: \(page)")
    }
    return selection(rows)
  }

  /// Pages of 16 keys, from two of them to half of all. A search has them where there are few queries, as in
  /// decoding: for a prompt blocks with a shared selection are faster.
  private static func candidateSeries(
    _ problem: AttentionProblem, _ density: SearchDensity
  ) -> [[String]] {
    if density == .search, problem.shape.queryLength > mostQueries { return [] }
    let pages = (problem.shape.keyLength + defaultPage - 1) / defaultPage
    return [
      density.sizes(from: 2, through: pages / 2).map { "\(family.name)(\(defaultPage), \($0))" }
    ].filter { !$0.isEmpty }
  }
}
