import AttentionKernels
import Tensors

/// How the tensors of a problem are stored.
public struct Storage: Sendable, Hashable {
  /// Queries.
  public var query: ElementType
  /// Keys and values.
  public var keyValue: ElementType
  /// The output; sums are fp32 in any case, and rounded once.
  public var output: ElementType

  /// Everything in fp32 unless said otherwise; `keyValue` and `output` default to `query`.
  public init(
    _ query: ElementType = .float32, keyValue: ElementType? = nil, output: ElementType? = nil
  ) {
    self.query = query
    self.keyValue = keyValue ?? query
    self.output = output ?? query
  }

  /// Whether all of them are fp32.
  public var isFloat32: Bool { self == Storage() }

  /// Whether query and output rows need no copies in fp32.
  package var rowsAreFloat32: Bool { query == .float32 && output == .float32 }

  /// Refuses integers where they have no scales.
  func check() throws(AttentionError) {
    for (argument, type) in [("storage.query", query), ("storage.output", output)]
    where !type.isFloatingPoint {
      throw AttentionError(
        .invalidArgument, argument: argument, value: type.rawValue,
        advice: "queries and outputs are stored as f32, f16 or bf16; only keys and values as int8")
    }
  }
}
