import CAttentionKernels

extension Tensor {
  /// Copies a tensor of any element type and placement into a dense one of floating-point elements,
  /// rounded to nearest, ties to even; integers come out multiplied by their scales.
  ///
  /// What passes the range of fp16 becomes an infinity; NaNs stay NaNs.
  ///
  /// - Parameter elementType: `float32` (exact for every source but integers, whose product with
  ///   their scale is rounded), `float16` or `bfloat16`.
  /// - Throws: `AttentionError` when the element type is an integer, which would need scales, or when
  ///   the system refuses the memory.
  public convenience init(
    copying view: TensorView, as elementType: ElementType = .float32,
    layout: TensorLayout = .bhnd
  ) throws(AttentionError) {
    guard elementType.isFloatingPoint else {
      throw AttentionError(
        .invalidArgument, argument: "elementType", value: elementType.rawValue,
        advice: "must be f32, f16 or bf16; integers need scales to be chosen")
    }
    try self.init(view.shape, layout: layout, elementType: elementType)
    let functions = KernelTable.active.functions
    let columns = Int32(view.shape.columns)
    let row = try AlignedFloats(count: view.shape.columns)
    let target = mutableView
    for batch in 0..<view.shape.batch {
      for head in 0..<view.shape.heads {
        let scales = view.channelScales(batch, head)
        for index in 0..<view.shape.rows {
          var source = view.rowAddress(batch, head, index)
          functions.pointee.widen(
            &source, 1, columns, view.elementType.storage, scales, row.base)
          var wide = UnsafePointer(row.base)
          var stored = target.rowAddress(batch, head, index)
          functions.pointee.narrow(&wide, 1, columns, elementType.storage, &stored)
        }
      }
    }
  }
}
