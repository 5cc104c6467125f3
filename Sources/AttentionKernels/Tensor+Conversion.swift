import CAttentionKernels
import Tensors

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
    view.write(to: mutableView, through: try AlignedFloats(count: view.shape.columns))
  }

  /// Sets every bit, which makes every floating-point element a NaN: what a run leaves out shows.
  package func poison() { bytes.update(repeating: 0xFF) }
}

extension TensorView {
  /// One row in fp32.
  package func floats(_ batch: Int, _ head: Int, _ row: Int) -> [Float] {
    [Float](unsafeUninitializedCapacity: shape.columns) { buffer, count in
      var source = rowAddress(batch, head, row)
      guard let out = buffer.baseAddress else { return }
      KernelTable.active.functions.pointee.widen(
        &source, 1, Int32(shape.columns), elementType.storage, channelScales(batch, head), out)
      count = shape.columns
    }
  }

  /// Rounds all elements into a tensor of the same shape, row by row through fp32.
  fileprivate func write(to target: MutableTensorView, through row: borrowing AlignedFloats) {
    let functions = KernelTable.active.functions
    let columns = Int32(shape.columns)
    for batch in 0..<shape.batch {
      for head in 0..<shape.heads {
        let scales = channelScales(batch, head)
        for index in 0..<shape.rows {
          var source = rowAddress(batch, head, index)
          functions.pointee.widen(&source, 1, columns, elementType.storage, scales, row.base)
          var wide = UnsafePointer(row.base)
          var stored = target.rowAddress(batch, head, index)
          functions.pointee.narrow(
            &wide, 1, columns, target.reading.elementType.storage, &stored)
        }
      }
    }
  }
}
