import AttentionKernels
import Tensors

/// A plan whose keys and values lie in pages, around one that reads rows at a stride: copies them
/// together first. For strategies that are there to be compared with, not for speed: every run
/// copies the whole past.
final class GatheringPlan: AttentionPlan {
  private let inner: any AttentionPlan
  private let keys: AlignedFloats
  private let values: AlignedFloats

  /// - Throws: `AttentionError` when memory for the copies is refused.
  init(_ inner: any AttentionPlan) throws(AttentionError) {
    let (shape, elementType) = (inner.problem.shape, inner.problem.storage.keyValue)
    let rows = shape.batch * shape.kvHeads * shape.keyLength
    let keys = try AlignedFloats(bytes: rows * elementType.rowBytes(columns: shape.headDim))
    let values = try AlignedFloats(bytes: rows * elementType.rowBytes(columns: shape.valueDim))
    self.inner = inner
    self.keys = keys
    self.values = values
  }

  var problem: AttentionProblem { inner.problem }
  var workspaceBytes: Int { inner.workspaceBytes + 4 * (keys.count + values.count) }
  var takesKeyLengths: Bool { inner.takesKeyLengths }
  var takesPagedRows: Bool { true }
  var declaredOperands: [OperandDeclaration] { inner.declaredOperands }

  func execute(_ operands: AttentionOperands) {
    var operands = operands
    let lengths = operands.keyLengths
    operands.key = gather(operands.key, lengths, into: keys.base)
    operands.value = gather(operands.value, lengths, into: values.base)
    inner.execute(operands)
  }

  /// Copies the rows in use; a view of the copies.
  private func gather(
    _ view: TensorView, _ lengths: [Int]?, into memory: UnsafeMutablePointer<Float>
  ) -> TensorView {
    let copy = TensorView(
      dense: memory, view.elementType, shape: view.shape, layout: .bhnd,
      channelScales: view.channelScales)
    let rowBytes = Int(view.rowBytes)
    for batch in 0..<view.shape.batch {
      let length = lengths?[batch] ?? problem.geometry(batch: batch).keyLength
      for head in 0..<view.shape.heads {
        for row in 0..<length {
          copy.writableRow(batch, head, row).copyMemory(
            from: view.rowAddress(batch, head, row), byteCount: rowBytes)
        }
      }
    }
    return copy
  }
}
