import Attention

/// What an attention problem is beyond its sizes, gathered before the sizes are known: the fields
/// are those of `AttentionProblem`, with its defaults.
public struct ProblemSettings: Sendable {
  /// The factor on the scores; nil for `1 / sqrt(d)`.
  public var scale: Float?
  /// Whether a query sees only keys up to its own position.
  public var causal = false
  /// Where queries stand among the keys.
  public var offset = QueryOffset.bottomRight
  /// Query rows in use, one number a batch entry.
  public var queryLengths: [Int]?
  /// Key rows in use, one number a batch entry.
  public var keyLengths: [Int]?
  /// Leading keys that every query sees, one number a batch entry.
  public var prefixLengths: [Int]?
  /// Nonzero where a query may see a key.
  public var mask: BroadcastTensor<UInt8>?
  /// Added to the scores.
  public var bias: BroadcastTensor<Float>?
  /// A slope a query head.
  public var alibiSlopes: [Float]?
  /// The bound of the scores.
  public var softcap: Float?
  /// A logit a query head that joins the softmax without a value.
  public var sinkLogits: [Float]?
  /// How the tensors are stored.
  public var elements = ElementTypes()

  /// The default of every setting.
  public init() {}

  /// The problem of these settings on a shape.
  ///
  /// - Throws: `AttentionError` naming the setting that does not fit.
  public func problem(on shape: AttentionShape) throws(AttentionError) -> AttentionProblem {
    try AttentionProblem(
      shape, scale: scale, causal: causal, offset: offset, queryLengths: queryLengths,
      keyLengths: keyLengths, prefixLengths: prefixLengths, mask: mask, bias: bias,
      alibiSlopes: alibiSlopes, softcap: softcap, sinkLogits: sinkLogits, elements: elements)
  }
}
