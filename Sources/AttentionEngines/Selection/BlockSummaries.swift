import AttentionContract
import AttentionKernels
import Tensors

/// Summaries of the blocks of the keys in a cache, which grow with it: a step summarises the blocks that new
/// tokens lie in, and reads the others as they are.
///
/// Unchecked: tasks of a run write blocks of their own, and nothing else while it lasts.
final class BlockSummaries: CacheCompanion, @unchecked Sendable {
  let declaredOperands: [OperandDeclaration] = []
  let bytes: Int
  private let selection: BlockSelection
  private let cache: any KeyValueCache
  private let kvHeads: Int
  private let headFloats: Int
  private let arena: Arena
  private let part: ArenaPart<Float>
  /// Keys of an entry whose blocks are up to date, and how many there will be at the end of the step under
  /// way.
  private var summarised: [Int]
  private var pending: [Int]
  /// What the cache had forgotten when it was last looked at.
  private var truncations: Int

  init(
    _ selection: BlockSelection, _ problem: AttentionProblem, _ cache: any KeyValueCache,
    kernels: KernelTable
  ) throws(AttentionError) {
    let shape = problem.shape
    let layout = SelectionLayout(problem, selection, threads: 1, kernels: kernels)
    self.selection = selection
    self.cache = cache
    kvHeads = shape.kvHeads
    headFloats = layout.blockCount * layout.summaryStride
    var arenaLayout = ArenaLayout()
    part = arenaLayout.add(shape.batch * shape.kvHeads * headFloats)
    bytes = arenaLayout.bytes
    // The system backs it as tokens arrive.
    arena = try Arena(arenaLayout, for: "summaries of blocks", touched: false)
    summarised = Array(repeating: 0, count: shape.batch)
    pending = summarised
    truncations = cache.truncations
  }

  /// `[blocks][summaryStride]`.
  func summaries(_ entry: Int, _ kvHead: Int) -> UnsafeMutablePointer<Float> {
    arena[part] + (entry * kvHeads + kvHead) * headFloats
  }

  /// The first block that is to be summarised in the step under way.
  func firstStale(_ entry: Int) -> Int { summarised[entry] / selection.block }

  /// Tokens that went without the decoder's knowing may have come back as others.
  func check(_ cache: any KeyValueCache) {
    if cache.truncations == truncations { return }
    truncations = cache.truncations
    for entry in summarised.indices { summarised[entry] = 0 }
  }

  func begin(_ inputs: InputViews, cache: any KeyValueCache, counts: [Int]?) {
    for entry in pending.indices {
      pending[entry] = counts?[entry] == 0 ? summarised[entry] : cache.tokens[entry]
    }
  }

  /// Blocks are summarised by the runs that attend.
  func end(attended: Bool) {
    if !attended { return }
    for entry in pending.indices { summarised[entry] = pending[entry] }
  }

  func truncate(entry: Int, to count: Int) {
    truncations += 1
    summarised[entry] = min(summarised[entry], count)
  }
}
