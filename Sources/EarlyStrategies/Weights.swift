import AttentionContract
import AttentionKernels
import Tensors

extension OperandDeclaration {
  /// Weights of a sum of so many terms: random ones are uniform, with the variance that keeps the spread of
  /// what they are multiplied with.
  static func weights(
    _ name: String, axes: [OperandAxis], meaning: String,
    terms: @escaping @Sendable (AttentionShape) -> Int
  ) -> OperandDeclaration {
    OperandDeclaration(
      name, axes: axes, meaning: meaning,
      domain: -Float.greatestFiniteMagnitude...Float.greatestFiniteMagnitude,
      drawnFor: { uniform, shape in
        Float((2 * uniform - 1) * (3 / Double(terms(shape))).squareRoot())
      })
  }
}

extension TensorView {
  /// The matrix of a head, `[1, heads, m, d]`, times a vector of d, in fp64.
  func product(_ head: Int, _ vector: UnsafePointer<Float>) -> [Double] {
    (0..<shape.rows).map { dot(row(0, head, $0), vector, shape.columns) }
  }
}
