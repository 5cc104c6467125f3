import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// How much of the problem travels together: the one place that decides.
///
/// Results do not depend on `panels`; they do depend on `keys` in the last bits.
public struct BlockSizes: Sendable, Hashable {
  /// Panels of query rows that share each block of keys.
  public let panels: Int
  /// Keys a panel meets at a time, at most what the kernel's weight buffer holds.
  public let keys: Int

  /// Cache sizes in bytes, per core.
  public struct Caches: Sendable, Hashable {
    /// First-level data cache.
    public var level1: Int
    /// Second-level cache.
    public var level2: Int
    /// Creates cache sizes.
    public init(level1: Int, level2: Int) {
      self.level1 = level1
      self.level2 = level2
    }
  }

  /// Fits blocks to the caches.
  ///
  /// One block's weights (`keys x L` floats) take at most half of the first level, beside the
  /// query or output panel streaming through the other half. All panels of a task with their
  /// accumulators, and one block of keys and values, take at most half of the second level: every
  /// key row read from beyond it then serves as many query rows as possible.
  ///
  /// - Parameters:
  ///   - queryRows: rows a task should take, or nil for what fits.
  ///   - keyRows: keys of a block, or nil for what fits.
  ///   - rows: query rows there are for one key/value head.
  ///   - tile: what keys of a block are a multiple of; the kernels' tile unless operands want more.
  ///   - mostPanels: panels of a task at most.
  static func fitting(
    _ caches: Caches, shape: AttentionShape, kernels: KernelTable, rows: Int,
    queryRows: Int? = nil, keyRows: Int? = nil, tile: Int? = nil, mostPanels: Int = 16
  ) -> BlockSizes {
    let lanes = kernels.panelLanes
    let tile = tile ?? kernels.tileKeys
    let limit = Int(ATTN_BLOCK_KEYS) / tile * tile
    let fitting = caches.level1 / 2 / (4 * lanes) / tile * tile
    let keys = min(max(keyRows.map { ($0 + tile - 1) / tile * tile } ?? fitting, tile), limit)
    let width = shape.headDim + shape.valueDim
    let panelBytes = 4 * lanes * width
    let blockBytes = 4 * keys * width
    let available = max(caches.level2 / 2 - blockBytes, 0)
    let fit = queryRows.map { ($0 + lanes - 1) / lanes } ?? min(available / panelBytes, mostPanels)
    return BlockSizes(panels: min(max(fit, 1), (rows + lanes - 1) / lanes), keys: keys)
  }
}
