import Attention
import CAttnbench

extension attnbench_problem {
  /// The problem that the caller describes; lists, mask and bias are copied.
  func problem() throws -> AttentionProblem {
    func size(_ value: Int64, or other: Int64) -> Int { Int(value == 0 ? other : value) }
    // The shape comes first: it says how long the lists are.
    let shape = try AttentionShape(
      batch: size(batch, or: 1), heads: Int(heads), kvHeads: size(kv_heads, or: heads),
      queryLength: Int(query_length), keyLength: size(key_length, or: query_length),
      headDim: Int(head_dim), valueDim: size(value_dim, or: head_dim))
    let isScaled = try flag(has_scale, "problem.has_scale")
    let scoring = Scoring(
      scale: isScaled ? scale : nil, softcap: softcap == 0 ? nil : softcap,
      sinkLogits: numbers(sink_logits, count: shape.heads))
    let visibility = Visibility(
      causal: try flag(causal, "problem.causal"), offset: try queryOffset(on: shape),
      queryLengths: numbers(query_lengths, count: shape.batch),
      keyLengths: numbers(key_lengths, count: shape.batch),
      prefixLengths: numbers(prefix_lengths, count: shape.batch),
      windowLeft: try flag(has_window_left, "problem.has_window_left") ? Int(window_left) : nil,
      windowRight: try flag(has_window_right, "problem.has_window_right") ? Int(window_right) : nil,
      chunk: chunk == 0 ? nil : Int(chunk),
      mask: try mask.mask("mask", on: shape), bias: try bias.bias("bias", on: shape),
      alibiSlopes: numbers(alibi_slopes, count: shape.heads))
    let storage = Storage(
      try elementType(query_type, "problem.query_type"),
      keyValue: try elementType(key_value_type, "problem.key_value_type"),
      output: try elementType(output_type, "problem.output_type"))
    return try AttentionProblem(
      shape, scoring: scoring, visibility: visibility, storage: storage)
  }

  private func queryOffset(on shape: AttentionShape) throws(InterfaceError) -> QueryOffset {
    switch attnbench_alignment(rawValue: alignment) {
    case ATTNBENCH_BOTTOM_RIGHT: return .bottomRight
    case ATTNBENCH_TOP_LEFT: return .topLeft
    case ATTNBENCH_FIXED: return .fixed(Int(offset))
    case ATTNBENCH_PER_BATCH:
      guard let offsets = numbers(offsets, count: shape.batch) else {
        throw .null("problem.offsets")
      }
      return .perBatch(offsets)
    default:
      throw InterfaceError(
        .invalidArgument,
        "problem.alignment = \(alignment): must be 0 (bottom-right), 1 (top-left), 2 (offset) or "
          + "3 (offsets)")
    }
  }
}

/// The strategy that a text names: one, or a list of one a query head.
func strategy(
  _ pointer: UnsafePointer<CChar>?, for problem: AttentionProblem
) throws -> any AttentionStrategy {
  let text = try text(pointer, "strategy")
  let registry = StrategyRegistry.standard
  guard StrategySpec.split(text).count > 1 else { return try registry.strategy(text) }
  let strategies = try registry.strategies(text)
  guard strategies.count == problem.shape.heads else {
    throw InterfaceError(
      .shapeMismatch,
      "strategy = \(strategies.count) of them: give one for all heads, or one for each of the "
        + "\(problem.shape.heads) query heads")
  }
  return try MixedAttention(strategies)
}
