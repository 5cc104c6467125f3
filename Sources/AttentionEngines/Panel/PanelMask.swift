import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// One worker's view of masks, biases and slopes: what the panels of a task see of the tiles, where
/// their rows of mask and bias are, and the bias of the block in work.
final class PanelMask {
  /// Where its memory lies.
  struct Layout: Sendable {
    fileprivate let lanes: Int
    fileprivate let vectorLanes: Int
    fileprivate let words: Int
    fileprivate let kernels: KernelTable
    fileprivate let tiles: ArenaPart<UInt64>
    fileprivate let taskTiles: ArenaPart<UInt64>
    fileprivate let windows: ArenaPart<UInt32>
    fileprivate let rows: ArenaPart<attn_row_bias>
    fileprivate let keyBiases: ArenaPart<UnsafePointer<Float>?>
    fileprivate let gatheredRows: ArenaPart<attn_row_bias>
    fileprivate let gatheredMask: ArenaPart<UInt8>
    fileprivate let gatheredBias: ArenaPart<Float>
    fileprivate let offsets: ArenaPart<Float>
    fileprivate let bias: ArenaPart<Float>
    fileprivate let keyBias: ArenaPart<Float>

    /// Nil where nothing is added or hidden key by key.
    init?(
      _ visibility: LoweredVisibility, _ shape: AttentionShape, kernels: KernelTable,
      panels: Int, in arena: inout ArenaLayout
    ) {
      guard let rule = visibility.rule else { return nil }
      lanes = kernels.panelLanes
      vectorLanes = kernels.vectorLanes
      words = TileMap.words(shape.keyLength)
      self.kernels = kernels
      let (vectors, block) = (lanes / vectorLanes, Int(ATTN_BLOCK_KEYS))
      tiles = arena.add(panels * vectors * 2 * words)
      taskTiles = arena.add(words)
      windows = arena.add(2 * vectors)
      rows = arena.add(panels * lanes)
      keyBiases = arena.add(panels)
      gatheredRows = arena.add(lanes)
      gatheredMask = arena.add(rule.hasMask ? lanes * block : 0)
      gatheredBias = arena.add(rule.hasBias ? lanes * block : 0)
      offsets = arena.add(block)
      bias = arena.add(block * lanes)
      keyBias = arena.add(block)
    }
  }

  let rule: BiasRule
  let map: TileMap?
  let functions: UnsafePointer<attn_kernels>
  let lanes: Int
  let vectorLanes: Int
  /// Vectors of lanes in a panel.
  let vectors: Int
  /// Words of a bit set.
  let words: Int

  /// `[panels][vectors][2][words]`: tiles that some row of a vector sees, and those that all see
  /// plainly.
  let tiles: UnsafeMutablePointer<UInt64>
  /// `[words]`: tiles that some row of the task sees.
  private let taskTiles: UnsafeMutablePointer<UInt64>
  /// `[vectors][2]`: the tiles of the block in work.
  let windows: UnsafeMutablePointer<UInt32>
  /// `[panels][L]` the rules of the rows.
  let rows: UnsafeMutablePointer<attn_row_bias>
  /// `[panels]` the biases of the keys where they are the same for all rows of a panel and all that the
  /// rule says; nil where not.
  let keyBiases: UnsafeMutablePointer<UnsafePointer<Float>?>
  /// `[L]` those of what was gathered for keys that are not consecutive, `[L][ATTN_BLOCK_KEYS]` each.
  let gatheredRows: UnsafeMutablePointer<attn_row_bias>
  let gatheredMask: UnsafeMutablePointer<UInt8>
  let gatheredBias: UnsafeMutablePointer<Float>
  /// `[ATTN_BLOCK_KEYS]` keys of a piece's places, counted from the first.
  let offsets: UnsafeMutablePointer<Float>
  /// `[ATTN_BLOCK_KEYS][L]`, and `[ATTN_BLOCK_KEYS]` where it is the same for all: what the kernels read.
  let bias: UnsafeMutablePointer<Float>
  let keyBias: UnsafeMutablePointer<Float>

  /// Nil where nothing is added or hidden key by key.
  init?(_ visibility: LoweredVisibility, _ layout: Layout, _ arena: borrowing Arena) {
    guard let rule = visibility.rule else { return nil }
    self.rule = rule
    map = visibility.tiles
    functions = layout.kernels.functions
    lanes = layout.lanes
    vectorLanes = layout.vectorLanes
    vectors = lanes / vectorLanes
    words = layout.words
    tiles = arena[layout.tiles]
    taskTiles = arena[layout.taskTiles]
    windows = arena[layout.windows]
    rows = arena[layout.rows]
    keyBiases = arena[layout.keyBiases]
    gatheredRows = arena[layout.gatheredRows]
    gatheredMask = arena[layout.gatheredMask]
    gatheredBias = arena[layout.gatheredBias]
    offsets = arena[layout.offsets]
    bias = arena[layout.bias]
    keyBias = arena[layout.keyBias]
  }

  /// Starts a task, of which nothing is known yet.
  func beginTask() { taskTiles.update(repeating: 0, count: words) }

  /// Reads what a panel of the task sees.
  ///
  /// - Parameter offset: what a row has to be moved by to be a position.
  func begin(_ slot: Int, _ panelRows: PanelRows, batch: Int, offset: Int) {
    let live = panelRows.live
    let own = rows + slot * lanes
    let start = tiles + slot * vectors * 2 * words
    for vector in 0..<vectors {
      (start + vector * 2 * words).update(repeating: 0, count: words)
      (start + (vector * 2 + 1) * words).update(repeating: ~0, count: words)
    }
    panelRows.forEach { lane, head, row in
      own[lane] = rule.row(batch, head, row, position: row + offset)
      guard let map else { return }
      let (visible, plain) = (map.visible(batch, head, row), map.plain(batch, head, row))
      let seen = start + lane / vectorLanes * 2 * words
      for word in 0..<words {
        seen[word] |= visible[word]
        seen[words + word] &= plain[word]
        taskTiles[word] |= visible[word]
      }
    }
    if rule.hasSlopes {
      for vector in 0..<vectors {
        (start + (vector * 2 + 1) * words).update(repeating: 0, count: words)
      }
    }
    let isAlike =
      rule.axes?.rows == 1 && !rule.hasMask && !rule.hasSlopes
      && (1..<live).allSatisfy { own[$0].bias == own[0].bias }
    keyBiases[slot] = isAlike ? own[0].bias : nil
    // Lanes beyond the last row repeat it, as bounds do.
    (own + live).update(repeating: own[live - 1], count: lanes - live)
  }

  /// Whether mask and bias leave any row of the task a key at some places of a sequence; true
  /// where that is not known.
  func sees(_ places: Range<Int>, of keys: KeySequence) -> Bool {
    guard map != nil, keys.isConsecutive else { return true }
    let window = Window(places, of: keys)
    return TileMap.window(taskTiles, from: window.tile, count: window.count) != 0
  }

  /// The tiles that some places of consecutive keys lie in.
  struct Window {
    let tile: Int
    let count: Int

    init(_ places: Range<Int>, of keys: KeySequence) {
      tile = (keys.start + places.lowerBound) / TileMap.tileKeys
      count = (keys.start + places.upperBound - 1) / TileMap.tileKeys - tile + 1
    }
  }
}
