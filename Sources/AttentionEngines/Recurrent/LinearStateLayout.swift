import AttentionContract
import AttentionKernels
import Tensors

/// Sizes of the state of linear attention, S = sum phi(k) v^T and z = sum phi(k), as the kernels
/// read it.
package struct LinearStateLayout: Sendable {
  /// Keeps the denominator from zero.
  package static let epsilon = 1e-6

  let headDim: Int
  let valueDim: Int
  package let lanes: Int
  let vectorLanes: Int
  let tileKeys: Int
  /// Groups of value columns: S is `[groups][d][L]`.
  let groups: Int
  /// Lanes of a group in use: as even as vectors allow, since few lanes are slow lanes.
  let groupLanes: Int
  /// Feature columns padded to whole vectors: z is `[paddedFeatures]`.
  let paddedFeatures: Int
  /// Offset of z.
  let normaliser: Int
  /// Floats that a panel's query rows and its output rows take in fp32, where they are stored
  /// otherwise.
  let rowCopies: Int

  package init(
    _ shape: AttentionShape, kernels: KernelTable, storage: Storage = Storage()
  ) {
    headDim = shape.headDim
    valueDim = shape.valueDim
    lanes = kernels.panelLanes
    vectorLanes = kernels.vectorLanes
    tileKeys = kernels.tileKeys
    groups = (valueDim + lanes - 1) / lanes
    let valueVectors = (valueDim + vectorLanes - 1) / vectorLanes
    groupLanes = (valueVectors + groups - 1) / groups * vectorLanes
    paddedFeatures = (headDim + vectorLanes - 1) / vectorLanes * vectorLanes
    normaliser = groups * headDim * lanes
    rowCopies = storage.rowsAreFloat32 ? 0 : lanes * max(headDim, valueDim)
  }

  /// Floats of S and z.
  var count: Int { normaliser + paddedFeatures }
  func columns(_ group: Int) -> Int { min(groupLanes, valueDim - group * groupLanes) }
  /// Vectors that hold `count` lanes.
  func vectors(_ count: Int) -> Int { (count + vectorLanes - 1) / vectorLanes }
  /// Whether a vector load at the end of a value row stays inside the row.
  var valuesFillVectors: Bool { valueDim % vectorLanes == 0 }
}
