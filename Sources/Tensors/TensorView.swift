/// The order of a four-dimensional tensor's outer axes in memory; the last axis is contiguous.
public enum TensorLayout: String, Sendable, CaseIterable {
  /// `[b, h, n, d]`, the default.
  case bhnd
  /// `[b, n, h, d]`, as projections produce it.
  case bnhd
}

/// Where the rows of a tensor's batch entries lie. The tables belong to the owner of the elements, and
/// must stay valid and unchanged while a plan runs on the view.
public enum RowPlacement: @unchecked Sendable {
  /// A batch stride and a row stride.
  case strided
  /// Sequences of unequal length behind each other: row `r` of batch entry `i` is row
  /// `starts[i] + r`.
  case packed(starts: UnsafePointer<Int32>)
  /// Pages of `pageRows` rows anywhere: row `r` of batch entry `i` is row `r % pageRows` of page
  /// `table[i * pagesPerEntry + r / pageRows]`, and `pageStride` elements lie between pages.
  case paged(
    table: UnsafePointer<Int32>, pagesPerEntry: Int, pageRows: Int, pageStride: Int)
}

/// A read-only tensor `[batch, heads, rows, columns]` in memory of an owner that the view keeps
/// alive, as that of a ``Tensor`` or a cache, or in the caller's own, which must stay valid for as
/// long as the view is used; fp32 unless its element type says otherwise.
///
/// Strides are in elements; a row is contiguous. The memory must not change while a plan runs on it.
public struct TensorView: @unchecked Sendable {
  /// The first element's address.
  public let address: UnsafeRawPointer
  /// How elements are stored.
  public let elementType: ElementType
  /// `[batch, heads, rows, columns]`; where sequences differ in length, rows of the longest.
  public let shape: TensorShape
  /// Elements from one batch entry to the next, in a strided placement.
  public let batchStride: Int
  /// Elements from one head to the next.
  public let headStride: Int
  /// Elements from one row to the next.
  public let rowStride: Int
  /// Where the rows of a batch entry lie.
  public let placement: RowPlacement
  /// `[batch, heads, columns]` factors of the columns where the element type is `int8PerChannel`.
  public let channelScales: UnsafePointer<Float>?
  /// Floats from one batch entry's and one head's channel scales to the next's.
  package let scaleStrides: (batch: Int, head: Int)
  /// What the memory belongs to, kept alive; nil for the caller's own.
  public package(set) var owner: AnyObject?

  /// The same view without its owner, for whom a caller keeps the memory alive: workers that copy
  /// views for every row would count the owner's references up and down, one after the other.
  package var unowned: TensorView {
    var view = self
    view.owner = nil
    return view
  }

  /// The first element of an fp32 tensor.
  public var base: UnsafePointer<Float> { address.assumingMemoryBound(to: Float.self) }

  /// Creates a view of densely stored fp32 memory in the given layout.
  public init(_ base: UnsafePointer<Float>, shape: TensorShape, layout: TensorLayout = .bhnd) {
    self.init(dense: base, .float32, shape: shape, layout: layout)
  }

  /// Creates a view of densely stored floating-point memory in the given layout.
  ///
  /// - Throws: `AttentionError` when the element type is an integer, whose scales need a place.
  public init(
    _ address: UnsafeRawPointer, _ elementType: ElementType, shape: TensorShape,
    layout: TensorLayout = .bhnd
  ) throws(AttentionError) {
    guard elementType.isFloatingPoint else {
      throw AttentionError(
        .invalidArgument, argument: "elementType", value: elementType.rawValue,
        advice: "8-bit integers need scales; say where rows and scales lie by strides")
    }
    self.init(dense: address, elementType, shape: shape, layout: layout)
  }

  /// A view of rows that follow each other without a gap, each with its scale if it has one.
  package init(
    dense address: UnsafeRawPointer, _ elementType: ElementType, shape: TensorShape,
    layout: TensorLayout, channelScales: UnsafePointer<Float>? = nil, owner: AnyObject? = nil
  ) {
    let row = elementType.rowBytes(columns: shape.columns) / elementType.byteCount
    self.init(
      unchecked: address, elementType, shape: shape,
      strides: (
        shape.heads * shape.rows * row, layout == .bhnd ? shape.rows * row : row,
        layout == .bhnd ? row : shape.heads * row
      ), channelScales: channelScales, owner: owner)
  }

  /// Creates a view of fp32 memory with explicit batch, head and row strides, in elements.
  ///
  /// - Throws: `AttentionError` when the row stride is shorter than a row (there is more than one)
  ///   or a stride is negative.
  public init(
    _ base: UnsafePointer<Float>, shape: TensorShape, strides: (batch: Int, head: Int, row: Int)
  ) throws(AttentionError) {
    try self.init(base, .float32, shape: shape, strides: strides)
  }

  /// Creates a view with explicit strides, in elements.
  ///
  /// - Parameters:
  ///   - placement: where the rows of a batch entry lie; the batch stride counts only if strided.
  ///   - channelScales: `[batch, heads, columns]`, for `int8PerChannel` only.
  ///   - owner: what elements, scales and tables belong to, kept alive by the view; nil where the
  ///     caller sees to it.
  /// - Throws: `AttentionError` when the row stride is shorter than a row with its scale (there is
  ///   more than one), a stride is negative, a page has no rows, or scales are missing or not used.
  public init(
    _ address: UnsafeRawPointer, _ elementType: ElementType, shape: TensorShape,
    strides: (batch: Int, head: Int, row: Int), placement: RowPlacement = .strided,
    channelScales: UnsafePointer<Float>? = nil, owner: AnyObject? = nil
  ) throws(AttentionError) {
    let rowLength = elementType.rowBytes(columns: shape.columns) / elementType.byteCount
    let rowIsFine = shape.rows == 1 || (rowLength...Int(Int32.max)).contains(strides.row)
    if !rowIsFine || strides.batch < 0 || strides.head < 0 {
      throw AttentionError(
        .shapeMismatch, argument: "strides",
        value: "(batch: \(strides.batch), head: \(strides.head), row: \(strides.row))",
        advice: "the row stride must be at least the row length (\(rowLength)) and fit 32 bits, "
          + "the others at least 0")
    }
    if case .paged(_, let pagesPerEntry, let pageRows, let pageStride) = placement,
      pageRows < 1 || pageStride < 0 || pagesPerEntry * pageRows < shape.rows
    {
      throw AttentionError(
        .shapeMismatch, argument: "pages",
        value: "\(pagesPerEntry) of \(pageRows) rows, \(pageStride) elements apart",
        advice: "the pages of an entry must hold the tensor's \(shape.rows) rows")
    }
    if (elementType == .int8PerChannel) != (channelScales != nil) {
      throw AttentionError(
        .invalidArgument, argument: "channelScales",
        value: channelScales == nil ? "none" : "given",
        advice: "int8-channel elements have them, others do not; these are \(elementType.rawValue)")
    }
    self.init(
      unchecked: address, elementType, shape: shape, strides: strides, placement: placement,
      channelScales: channelScales, owner: owner)
  }

  private init(_ whole: TensorView, first: Int, step: Int, count: Int) {
    address = whole.address + first * whole.headStride * whole.elementType.byteCount
    elementType = whole.elementType
    shape = TensorShape(
      unchecked: whole.shape.batch, count, whole.shape.rows, whole.shape.columns)
    batchStride = whole.batchStride
    headStride = step * whole.headStride
    rowStride = whole.rowStride
    placement = whole.placement
    channelScales = whole.channelScales.map { $0 + first * whole.scaleStrides.head }
    scaleStrides = (whole.scaleStrides.batch, step * whole.scaleStrides.head)
    owner = whole.owner
  }

  /// Heads `first`, `first + step`, ... of the same memory; they must exist.
  package func heads(_ first: Int, step: Int, count: Int) -> TensorView {
    TensorView(self, first: first, step: step, count: count)
  }

  /// The scales of a head's columns; nil unless the element type is `int8PerChannel`.
  package func channelScales(_ batch: Int, _ head: Int) -> UnsafePointer<Float>? {
    channelScales.map { $0 + batch * scaleStrides.batch + head * scaleStrides.head }
  }

  /// Elements from the first to the first of a row.
  @inlinable @inline(__always)
  package func offset(_ batch: Int, _ head: Int, _ row: Int) -> Int {
    switch placement {
    case .strided:
      batch * batchStride + head * headStride + row * rowStride
    case .packed(let starts):
      head * headStride + (Int(starts[batch]) + row) * rowStride
    case .paged(let table, let pagesPerEntry, let pageRows, let pageStride):
      Int(table[batch * pagesPerEntry + row / pageRows]) * pageStride + head * headStride
        + row % pageRows * rowStride
    }
  }

  /// The first element of a row of an fp32 tensor.
  @inlinable @inline(__always)
  package func row(_ batch: Int, _ head: Int, _ row: Int) -> UnsafePointer<Float> {
    base + offset(batch, head, row)
  }

  /// The first byte of a row.
  @inlinable @inline(__always)
  package func rowAddress(_ batch: Int, _ head: Int, _ row: Int) -> UnsafeRawPointer {
    address + offset(batch, head, row) * elementType.byteCount
  }

  /// Bytes of a row, as the kernels count them.
  @inlinable @inline(__always)
  package var rowBytes: Int32 { Int32(elementType.rowBytes(columns: shape.columns)) }

  /// Rows from `row` on that follow each other at the row stride, at most `limit`.
  @inlinable @inline(__always)
  package func regularRows(from row: Int, limit: Int) -> Int {
    if case .paged(_, _, let pageRows, _) = placement {
      return min(limit, pageRows - row % pageRows)
    }
    return limit
  }
}

/// A writable tensor `[batch, heads, rows, columns]`.
///
/// As `TensorView`; rows must not overlap each other or any input.
public struct MutableTensorView: @unchecked Sendable {
  /// The same memory, for reading: type, shape and strides live there.
  public let reading: TensorView

  /// The first element of an fp32 tensor.
  public var base: UnsafeMutablePointer<Float> { UnsafeMutablePointer(mutating: reading.base) }

  /// Creates a view of densely stored fp32 memory in the given layout.
  public init(
    _ base: UnsafeMutablePointer<Float>, shape: TensorShape, layout: TensorLayout = .bhnd
  ) {
    reading = TensorView(base, shape: shape, layout: layout)
  }

  /// Creates a view of densely stored floating-point memory in the given layout.
  ///
  /// - Throws: `AttentionError` as `TensorView` does.
  public init(
    _ address: UnsafeMutableRawPointer, _ elementType: ElementType, shape: TensorShape,
    layout: TensorLayout = .bhnd
  ) throws(AttentionError) {
    reading = try TensorView(address, elementType, shape: shape, layout: layout)
  }

  /// Creates a view of fp32 memory with explicit batch, head and row strides, in elements.
  ///
  /// - Throws: `AttentionError` as `TensorView` does, and when rows overlap.
  public init(
    _ base: UnsafeMutablePointer<Float>, shape: TensorShape,
    strides: (batch: Int, head: Int, row: Int)
  ) throws(AttentionError) {
    try self.init(base, .float32, shape: shape, strides: strides)
  }

  /// Creates a view with explicit strides, in elements.
  ///
  /// - Throws: `AttentionError` as `TensorView` does, and when rows of a strided tensor overlap.
  public init(
    _ address: UnsafeMutableRawPointer, _ elementType: ElementType, shape: TensorShape,
    strides: (batch: Int, head: Int, row: Int), placement: RowPlacement = .strided,
    owner: AnyObject? = nil
  ) throws(AttentionError) {
    reading = try TensorView(
      address, elementType, shape: shape, strides: strides, placement: placement, owner: owner)
    guard case .strided = placement else { return }
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

  package init(reading: TensorView) { self.reading = reading }

  /// As `TensorView.unowned`.
  package var unowned: MutableTensorView { MutableTensorView(reading: reading.unowned) }

  /// Heads `first`, `first + step`, ... of the same memory; they must exist.
  package func heads(_ first: Int, step: Int, count: Int) -> MutableTensorView {
    MutableTensorView(reading: reading.heads(first, step: step, count: count))
  }

  /// The first element of a row of an fp32 tensor.
  @inlinable @inline(__always)
  package func row(_ batch: Int, _ head: Int, _ row: Int) -> UnsafeMutablePointer<Float> {
    UnsafeMutablePointer(mutating: reading.row(batch, head, row))
  }

  /// The first byte of a row.
  @inlinable @inline(__always)
  package func rowAddress(_ batch: Int, _ head: Int, _ row: Int) -> UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(mutating: reading.rowAddress(batch, head, row))
  }
}
