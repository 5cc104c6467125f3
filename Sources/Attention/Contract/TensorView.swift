/// The order of a four-dimensional tensor's outer axes in memory; the last axis is contiguous.
public enum TensorLayout: String, Sendable, CaseIterable {
  /// `[b, h, n, d]`, the default.
  case bhnd
  /// `[b, n, h, d]`, as projections produce it.
  case bnhd
}

/// A read-only fp32 tensor `[batch, heads, rows, columns]` in the caller's memory.
///
/// Strides are in elements; a row is contiguous. The view does not own the memory: it must stay
/// valid, and unchanged, while a plan runs on it.
public struct TensorView: @unchecked Sendable {
  /// The first element.
  public let base: UnsafePointer<Float>
  /// `[batch, heads, rows, columns]`.
  public let shape: TensorShape
  /// Elements from one batch entry to the next.
  public let batchStride: Int
  /// Elements from one head to the next.
  public let headStride: Int
  /// Elements from one row to the next.
  public let rowStride: Int

  /// Creates a view of densely stored memory in the given layout.
  public init(_ base: UnsafePointer<Float>, shape: TensorShape, layout: TensorLayout = .bhnd) {
    self.base = base
    self.shape = shape
    batchStride = shape.heads * shape.rows * shape.columns
    headStride = layout == .bhnd ? shape.rows * shape.columns : shape.columns
    rowStride = layout == .bhnd ? shape.columns : shape.heads * shape.columns
  }

  /// Creates a view with explicit batch, head and row strides, in elements.
  ///
  /// - Throws: `AttentionError` when the row stride is shorter than a row (there is more than one)
  ///   or a stride is negative.
  public init(
    _ base: UnsafePointer<Float>, shape: TensorShape, strides: (batch: Int, head: Int, row: Int)
  ) throws(AttentionError) {
    let rowIsFine = shape.rows == 1 || (shape.columns...Int(Int32.max)).contains(strides.row)
    if !rowIsFine || strides.batch < 0 || strides.head < 0 {
      throw AttentionError(
        .shapeMismatch, argument: "strides",
        value: "(batch: \(strides.batch), head: \(strides.head), row: \(strides.row))",
        advice:
          "the row stride must be at least the row length (\(shape.columns)) and fit 32 bits, "
          + "the others at least 0")
    }
    self.base = base
    self.shape = shape
    (batchStride, headStride, rowStride) = strides
  }

  private init(_ base: UnsafePointer<Float>, shape: TensorShape, batch: Int, head: Int, row: Int) {
    self.base = base
    self.shape = shape
    (batchStride, headStride, rowStride) = (batch, head, row)
  }

  /// Heads `first`, `first + step`, ... of the same memory; they must exist.
  func heads(_ first: Int, step: Int, count: Int) -> TensorView {
    TensorView(
      base + first * headStride,
      shape: TensorShape(unchecked: shape.batch, count, shape.rows, shape.columns),
      batch: batchStride, head: step * headStride, row: rowStride)
  }

  /// The first element of a row.
  @inline(__always)
  package func row(_ batch: Int, _ head: Int, _ row: Int) -> UnsafePointer<Float> {
    base + (batch * batchStride + head * headStride + row * rowStride)
  }
}

/// A writable fp32 tensor `[batch, heads, rows, columns]` in the caller's memory.
///
/// As `TensorView`; rows must not overlap each other or any input.
public struct MutableTensorView: @unchecked Sendable {
  /// The first element.
  public let base: UnsafeMutablePointer<Float>
  /// The same memory, for reading: shape and strides live there.
  public let reading: TensorView

  /// Creates a view of densely stored memory in the given layout.
  public init(
    _ base: UnsafeMutablePointer<Float>, shape: TensorShape, layout: TensorLayout = .bhnd
  ) {
    self.base = base
    self.reading = TensorView(base, shape: shape, layout: layout)
  }

  /// Creates a view with explicit batch, head and row strides, in elements.
  ///
  /// - Throws: `AttentionError` as `TensorView` does, and when rows overlap.
  public init(
    _ base: UnsafeMutablePointer<Float>, shape: TensorShape,
    strides: (batch: Int, head: Int, row: Int)
  ) throws(AttentionError) {
    self.base = base
    self.reading = try TensorView(base, shape: shape, strides: strides)
    // Each axis must step over all that the axes of shorter stride cover.
    var covered = shape.columns
    let axes = [
      (shape.rows, strides.row), (shape.heads, strides.head), (shape.batch, strides.batch),
    ]
    for (size, stride) in axes.filter({ $0.0 > 1 }).sorted(by: { $0.1 < $1.1 }) {
      if stride < covered {
        throw AttentionError(
          .shapeMismatch, argument: "strides",
          value: "(batch: \(strides.batch), head: \(strides.head), row: \(strides.row))",
          advice: "rows of an output must not overlap: one axis steps \(stride) over \(covered) "
            + "elements; use longer strides")
      }
      covered += (size - 1) * stride
    }
  }

  private init(_ base: UnsafeMutablePointer<Float>, reading: TensorView) {
    self.base = base
    self.reading = reading
  }

  /// Heads `first`, `first + step`, ... of the same memory; they must exist.
  func heads(_ first: Int, step: Int, count: Int) -> MutableTensorView {
    MutableTensorView(
      base + first * reading.headStride, reading: reading.heads(first, step: step, count: count))
  }

  /// The first element of a row.
  @inline(__always)
  func row(_ batch: Int, _ head: Int, _ row: Int) -> UnsafeMutablePointer<Float> {
    UnsafeMutablePointer(mutating: reading.row(batch, head, row))
  }
}
