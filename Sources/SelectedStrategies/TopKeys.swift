import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// The best k keys of every row, by their true scores: what no selection of k keys can better.
///
/// Ties go to the earlier key. All scores are computed to choose among them, so that it is slower than full
/// attention: it is there to be measured against. n products of d a row for the choice, and n k pairs a head.
///
/// Gupta 2021, arXiv 2106.06899.
public struct TopKeys: BlockSelectingStrategy {
  public static let family = StrategyFamily(
    "topk", operatorClass: .restricted,
    summary: "the k keys of every row with the best scores: the ceiling of all selections",
    source: "Gupta 2021, arXiv 2106.06899",
    parameters: [StrategyParameter("k", "keys that are kept (default 1024)")],
    isSweptByDefault: false, isCeiling: true
  ) { arguments throws(AttentionError) in try TopKeys(arguments) }

  private let keys: Int
  private let stated: Int?

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    stated = try arguments.integer("k", atLeast: 1)
    keys = stated ?? 1024
  }

  public func resolvedParameters(for problem: AttentionProblem) -> String { "\(keys)" }

  public func excess(for problem: AttentionProblem) -> AttentionError? {
    excess("k", stated, of: problem.shape.keyLength, "keys")
  }

  public func selection(for problem: AttentionProblem) -> BlockSelection {
    BlockSelection(keys: keys)
  }
}
