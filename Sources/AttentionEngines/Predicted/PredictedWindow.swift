import AttentionContract
import AttentionKernels
import RealModule
import Tensors

/// Where a query looks among the S keys that it may see: around p = S sigmoid(v . tanh(W q)), at most `width`
/// keys away.
package struct PredictedWindow: Sendable {
  /// Keys to each side of the predicted position.
  let width: Int
  /// `[h, hidden, d]` and `[h, hidden]`.
  let weights: OperandDeclaration
  let direction: OperandDeclaration
  let hidden: Int

  package init(
    width: Int, hidden: Int, weights: OperandDeclaration, direction: OperandDeclaration
  ) {
    self.width = width
    self.hidden = hidden
    self.weights = weights
    self.direction = direction
  }

  /// The predicted position, from 0 to `count`. In fp64: an error of fp32 would grow with the number of keys.
  func position(
    _ query: UnsafePointer<Float>, among count: Int, _ weights: TensorView,
    _ direction: TensorView, head: Int
  ) -> Double {
    var sum = 0.0
    for unit in 0..<hidden {
      let product = dot(query, weights.row(0, head, unit), weights.shape.columns)
      sum += Double(direction.row(0, head, unit)[0]) * Double.tanh(product)
    }
    return Double(count) / (1 + Double.exp(-sum))
  }

  /// The keys around a position.
  func keys(around position: Double, among count: Int) -> Range<Int> {
    let (first, last) = (position - Double(width), position + Double(width))
    return max(0, Int(first.rounded(.up)))..<min(count, Int(last.rounded(.down)) + 1)
  }

  /// How many keys a query sees that may see `count`: 2 w, but for those that lie beyond an end and those
  /// that lie at both ends of the window.
  func pairs(among count: Int) -> Int { min(2 * width, count) }

  /// Operations of a prediction.
  func flops(headDim: Int) -> Int { hidden * (2 * headDim + 2) }
}
