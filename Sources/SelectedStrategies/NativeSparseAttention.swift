import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// Native sparse attention: blocks of keys compressed to their means, the blocks that these point to, and a
/// window, each a softmax of its own, added up with gates.
///
/// With g the three gates of a query row of a head,
///
///     o = g_0 softmax over block means + g_1 softmax over the keys of kept blocks + g_2 softmax over the window
///
/// Compressed keys and values are the means of blocks of `block`; a row sees those of blocks that ended before
/// it. Of the blocks it keeps `top`: the first `first`, the `local` up to its own, and the best of the others by
/// the compressed branch's weights, summed over the heads of a group, which keep the same blocks. All cut at
/// what is visible; `window` as in `window(w)`. About n (n / block + top block + window) pairs a head, and a
/// product of d with each block that competes.
///
/// Yuan 2025, arXiv 2502.11089, where compression is learnt; means are what it is without training.
public struct NativeSparseAttention: NativeSparseStrategy {
  public static let family = StrategyFamily(
    "nsa", operatorClass: .different,
    summary: "compressed blocks, the blocks they point to and a window, added up with gates",
    source: "Yuan 2025, arXiv 2502.11089",
    parameters: [
      StrategyParameter("block", "keys of a block (default 64)"),
      StrategyParameter("top", "blocks that are kept, first and local ones included (default 16)"),
      StrategyParameter("window", "keys of the window (default 512)"),
      StrategyParameter("first", "leading blocks that are always kept (default 1)"),
      StrategyParameter(
        "local", "the own block and those before it that are always kept (default 2)"),
    ], operands: [.branchGate], isSweptByDefault: false
  ) { arguments throws(AttentionError) in try NativeSparseAttention(arguments) }

  public let sparseShape: NativeSparseShape
  private let statedTop: Int?

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    statedTop = try arguments.integer("top", atLeast: 1)
    sparseShape = NativeSparseShape(
      block: try arguments.integer("block", atLeast: 1) ?? 64,
      top: statedTop ?? 16,
      first: try arguments.integer("first", atLeast: 0) ?? 1,
      local: try arguments.integer("local", atLeast: 1) ?? 2,
      window: try arguments.integer("window", atLeast: 1) ?? 512)
    let (first, local) = (sparseShape.first, sparseShape.local)
    if first + local > sparseShape.top {
      throw AttentionError(
        .invalidArgument, argument: "nsa top", value: sparseShape.top,
        advice:
          "must be at least first + local = \(first + local), the blocks that are always kept; give "
          + "a larger top, or fewer of them")
    }
  }

  public func excess(for problem: AttentionProblem) -> AttentionError? {
    excess(
      "top", statedTop, of: sparseShape.blockCount(problem.shape.keyLength),
      "blocks of \(sparseShape.block) keys")
  }

  public func resolvedParameters(for problem: AttentionProblem) -> String {
    let shape = sparseShape
    return "\(shape.block), \(shape.top), \(shape.window)"
      + (shape.first == 1 ? "" : ", first: \(shape.first)")
      + (shape.local == 2 ? "" : ", local: \(shape.local)")
  }
}
