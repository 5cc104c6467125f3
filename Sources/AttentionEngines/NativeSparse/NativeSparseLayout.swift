import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// Sizes of native sparse attention, worked out without allocating.
struct NativeSparseLayout: Sendable {
  static let gateName = "gate"
  /// Query rows of a task.
  static let taskRows = 16

  let problem: AttentionProblem
  let shape: NativeSparseShape
  let threads: Int
  let kernels: KernelTable
  /// d rounded up to whole vectors: from one mean key to the next.
  let meanStride: Int
  /// Blocks of the longest sequence.
  let blockCount: Int
  /// What workers share: means of keys, `[b * hKV][blocks][meanStride]`, and of values, `[b * hKV][blocks][dV]`.
  private(set) var shared = ArenaLayout()
  let keyMeans: ArenaPart<Float>
  let valueMeans: ArenaPart<Float>

  init(
    _ problem: AttentionProblem, _ shape: NativeSparseShape, threads: Int, kernels: KernelTable
  ) {
    self.problem = problem
    self.shape = shape
    self.threads = threads
    self.kernels = kernels
    let sizes = problem.shape
    let lanes = kernels.vectorLanes
    meanStride = (sizes.headDim + lanes - 1) / lanes * lanes
    blockCount = shape.blockCount(sizes.keyLength)
    let means = sizes.batch * sizes.kvHeads * blockCount
    keyMeans = shared.add(means * meanStride)
    valueMeans = shared.add(means * sizes.valueDim)
  }

  /// Tasks of a key/value head.
  var tasksPerHead: Int { (problem.shape.queryLength + Self.taskRows - 1) / Self.taskRows }

  var work: WorkEstimate {
    let (sizes, geometries) = (problem.shape, problem.geometries)
    var (pairs, other) = (0, 0)
    for geometry in geometries {
      pairs += shape.pairs(under: geometry) * sizes.heads
      other +=
        shape.selectionFlops(under: geometry, headDim: sizes.headDim) * sizes.heads
        + geometry.keyLength * (sizes.headDim + sizes.valueDim) * sizes.kvHeads
        + 6 * geometry.queryLength * sizes.valueDim * sizes.heads
    }
    return WorkEstimate(
      pairs: pairs, flops: 2 * pairs * (sizes.headDim + sizes.valueDim) + other,
      minimumBytes: problem.minimumBytes(under: geometries.map { DensePattern($0) }),
      workspaceBytes: workspaceBytes)
  }

  var workspaceBytes: Int {
    shared.bytes + threads * NativeSparseScratch.Layout(self).arena.bytes
  }
}
