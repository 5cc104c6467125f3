import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// What is added to the scores of a query row, and which keys are hidden from it one by one: mask,
/// bias and slopes as one rule a row.
struct BiasRule: Sendable {
  private let mask: BroadcastTensor<UInt8>?
  private let bias: BroadcastTensor<Float>?
  private let slopes: [Float]?
  /// Keys that mask and bias have columns for: the others are hidden.
  private let columns: Int
  /// The rows that mask and bias tell apart; nil where there is neither.
  let axes: RowAxes?

  /// Nil where nothing is added and no key hidden.
  init?(_ problem: AttentionProblem) {
    let visibility = problem.visibility
    (mask, bias, slopes) = (visibility.mask, visibility.bias, visibility.alibiSlopes)
    let shapes = [mask?.shape, bias?.shape].compactMap { $0 }
    columns = shapes.reduce(problem.shape.keyLength) { min($0, $1.columns) }
    axes = shapes.isEmpty ? nil : RowAxes(shapes)
    if axes == nil, slopes == nil { return nil }
  }

  var hasMask: Bool { mask != nil }
  var hasBias: Bool { bias != nil }
  /// Whether something is added that depends on where a query stands.
  var hasSlopes: Bool { slopes != nil }

  /// The rule of a row.
  ///
  /// - Parameters:
  ///   - position: where the query stands.
  ///   - unit: units of the scores in a natural one.
  @inline(__always)
  func row(
    _ batch: Int, _ head: Int, _ row: Int, position: Int, unit: Float = .log16e
  ) -> attn_row_bias {
    attn_row_bias(
      mask: mask?.row(batch, head, row), bias: bias?.row(batch, head, row),
      position: Int64(position), columns: Int32(columns), slope: slopes.map { $0[head] * unit } ?? 0
    )
  }
}

extension attn_row_bias {
  /// The same for a row of scores that begins with a later key.
  func starting(at key: Int) -> attn_row_bias {
    attn_row_bias(
      mask: mask.map { $0 + key }, bias: bias.map { $0 + key }, position: position - Int64(key),
      columns: max(0, columns - Int32(key)), slope: slope)
  }

  /// Whether mask and bias leave a key visible.
  @inline(__always)
  func shows(_ key: Int) -> Bool {
    key < columns && mask?[key] != 0 && bias?[key] != -.infinity
  }
}

/// The rows that some broadcast tensors tell apart: an axis along which all are broadcast has size 1.
struct RowAxes: Sendable, Hashable {
  let batch: Int
  let heads: Int
  let rows: Int

  init(_ shapes: [TensorShape]) {
    batch = shapes.reduce(1) { max($0, $1.batch) }
    heads = shapes.reduce(1) { max($0, $1.heads) }
    rows = shapes.reduce(1) { max($0, $1.rows) }
  }

  /// How many rows there are.
  var rowCount: Int { batch * heads * rows }

  /// Place of a row among them.
  @inline(__always)
  func index(_ batch: Int, _ head: Int, _ row: Int) -> Int {
    let batch = self.batch == 1 ? 0 : batch
    let head = heads == 1 ? 0 : head
    return (batch * heads + head) * rows + (rows == 1 ? 0 : row)
  }
}
