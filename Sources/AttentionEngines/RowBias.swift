import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

extension AttentionProblem {
  /// Adds bias and slopes to the first `count` scores of a row; what mask or bias hides becomes
  /// -inf, whatever it was.
  ///
  /// - Parameters:
  ///   - scale: the factor that turns what is stored into scores.
  ///   - unit: units of the scores in a natural one, at most 1/2.
  func addBias(
    to scores: UnsafeMutablePointer<Float>, count: Int, scale: Float, unit: Float, batch: Int,
    head: Int, row: Int, functions: UnsafePointer<attn_kernels>
  ) {
    // A missing column hides its key.
    let columns = min(
      count, visibility.mask?.shape.columns ?? count, visibility.bias?.shape.columns ?? count)
    var source = attn_row_bias(
      mask: visibility.mask?.row(batch, head, row), bias: visibility.bias?.row(batch, head, row),
      slope: visibility.alibiSlopes.map { $0[head] * unit } ?? 0,
      distance: Float(row + geometry(batch: batch).offset), unit: unit)
    functions.pointee.bias_row(scores, Int64(columns), scale, &source)
    (scores + columns).update(repeating: -.infinity, count: count - columns)
  }

  /// Whether mask and bias leave a key visible.
  func shows(_ key: Int, _ batch: Int, _ head: Int, _ row: Int) -> Bool {
    if let mask = visibility.mask,
      key >= mask.shape.columns || mask.row(batch, head, row)[key] == 0
    {
      return false
    }
    if let bias = visibility.bias,
      key >= bias.shape.columns || bias.row(batch, head, row)[key] == -.infinity
    {
      return false
    }
    return true
  }
}
