import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// DeepSeek's sparse attention: an index with few and narrow heads, trained with the model, scores all keys,
/// and every query attends to the best `top` of those that it may see.
///
/// I(t, s) = sum over index heads of w_h(t) max(0, q_h(t) . k(s)), one selection a row for all heads of
/// attention. Of equal scores the earlier key. n products of `heads` times `dim` a row for the choice, once
/// for all heads, and n top pairs a head.
///
/// DeepSeek-AI 2025, "DeepSeek-V3.2-Exp: Boosting Long-Context Efficiency with DeepSeek Sparse Attention".
public struct Indexer: KeySelectingStrategy {
  public static let family = StrategyFamily(
    "indexer", operatorClass: .restricted,
    summary: "the keys that an index, trained with the model, scores best for a query",
    source: "DeepSeek-AI 2025, DeepSeek-V3.2-Exp",
    parameters: [
      StrategyParameter("top", "keys that are kept (default 2048)"),
      StrategyParameter("heads", "heads of the index (default 4)"),
      StrategyParameter("dim", "columns of a head of the index (default 32)"),
    ], operands: IndexSelection(top: 2048, heads: 4, columns: 32).operands,
    isSweptByDefault: false, candidates: { _, _ in [] }
  ) { arguments throws(AttentionError) in try Indexer(arguments) }

  private let top: Int
  private let statedTop: Int?
  private let heads: Int
  private let dim: Int

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    statedTop = try arguments.integer("top", atLeast: 1)
    top = statedTop ?? 2048
    heads = try arguments.integer("heads", atLeast: 1) ?? 4
    dim = try arguments.integer("dim", atLeast: 1) ?? 32
  }

  private var index: IndexSelection { IndexSelection(top: top, heads: heads, columns: dim) }

  public var operands: [OperandDeclaration] { index.operands }

  public func resolvedParameters(for problem: AttentionProblem) -> String {
    "\(top)" + (heads == 4 ? "" : ", heads: \(heads)") + (dim == 32 ? "" : ", dim: \(dim)")
  }

  public func excess(for problem: AttentionProblem) -> AttentionError? {
    excess("top", statedTop, of: problem.shape.keyLength, "keys")
  }

  public func selection(for problem: AttentionProblem) -> KeySelection { .index(index) }
}
