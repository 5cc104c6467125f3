/// Parts of views and other views of the same memory, for callers that have checked what they ask
/// for: nothing is allocated and nothing fails.
extension TensorView {
  /// A view of memory that its owner has laid out.
  package init(
    unchecked address: UnsafeRawPointer, _ elementType: ElementType, shape: TensorShape,
    strides: (batch: Int, head: Int, row: Int), placement: RowPlacement = .strided,
    channelScales: UnsafePointer<Float>? = nil, owner: AnyObject? = nil
  ) {
    self.address = address
    self.elementType = elementType
    self.shape = shape
    (batchStride, headStride, rowStride) = strides
    self.placement = placement
    self.channelScales = channelScales
    scaleStrides = (shape.heads * shape.columns, shape.columns)
    self.owner = owner
  }

  /// One batch entry, as a tensor of batch 1, and of it the `count` rows from `first` on.
  ///
  /// - Precondition: the rows exist; if not all from the first are wanted, they are not paged.
  package func entry(_ entry: Int, first: Int = 0, count: Int) -> TensorView {
    var address = address + first * rowStride * elementType.byteCount
    var placement = placement
    switch placement {
    case .strided: address += entry * batchStride * elementType.byteCount
    case .packed(let starts): placement = .packed(starts: starts + entry)
    case .paged(let table, let pagesPerEntry, let pageRows, let pageStride):
      precondition(first == 0, "rows of paged tensors cannot be cut off")
      placement = .paged(
        table: table + entry * pagesPerEntry, pagesPerEntry: pagesPerEntry, pageRows: pageRows,
        pageStride: pageStride)
    }
    return TensorView(
      unchecked: address, elementType,
      shape: TensorShape(unchecked: 1, shape.heads, count, shape.columns),
      strides: (batchStride, headStride, rowStride), placement: placement,
      channelScales: channelScales(entry, 0), owner: owner)
  }

  /// The `count` rows from `first` on of all batch entries.
  ///
  /// - Precondition: the rows exist and are not paged.
  package func rows(first: Int, count: Int) -> TensorView {
    TensorView(
      unchecked: address + first * rowStride * elementType.byteCount, elementType,
      shape: TensorShape(unchecked: shape.batch, shape.heads, count, shape.columns),
      strides: (batchStride, headStride, rowStride), placement: placement,
      channelScales: channelScales, owner: owner)
  }

  /// Whether rows lie in pages.
  package var isPaged: Bool {
    if case .paged = placement { return true }
    return false
  }

  /// Where to write a row of memory that the caller owns.
  @inlinable @inline(__always)
  package func writableRow(_ batch: Int, _ head: Int, _ row: Int) -> UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(mutating: rowAddress(batch, head, row))
  }
}

extension MutableTensorView {
  /// As `TensorView.entry`.
  package func entry(_ entry: Int, first: Int = 0, count: Int) -> MutableTensorView {
    MutableTensorView(reading: reading.entry(entry, first: first, count: count))
  }

  /// As `TensorView.rows`.
  package func rows(first: Int, count: Int) -> MutableTensorView {
    MutableTensorView(reading: reading.rows(first: first, count: count))
  }
}
