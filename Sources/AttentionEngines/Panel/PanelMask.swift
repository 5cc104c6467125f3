import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// One worker's view of masks, biases and slopes: what the panels of a task see of the tiles, where
/// their rows of mask and bias are, and the bias of the block in work.
final class PanelMask: @unchecked Sendable {
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
  /// `[L]` those of what was gathered for keys that are not consecutive, `[L][ATTN_BLOCK_KEYS]` each.
  let gatheredRows: UnsafeMutablePointer<attn_row_bias>
  let gatheredMask: UnsafeMutablePointer<UInt8>
  let gatheredBias: UnsafeMutablePointer<Float>
  /// `[ATTN_BLOCK_KEYS]` keys of a piece's places, counted from the first.
  let offsets: UnsafeMutablePointer<Float>
  /// `[ATTN_BLOCK_KEYS][L]`: what the kernels read.
  let bias: UnsafeMutablePointer<Float>

  private struct Sizes {
    let tiles: Int
    let words: Int
    let vectors: Int
    let rows: Int
    let gathered: Int
    let blockLanes: Int

    init(_ shape: AttentionShape, kernels: KernelTable, panels: Int) {
      words = TileMap.words(shape.keyLength)
      vectors = kernels.panelLanes / kernels.vectorLanes
      tiles = panels * vectors * 2 * words
      rows = panels * kernels.panelLanes
      gathered = kernels.panelLanes * Int(ATTN_BLOCK_KEYS)
      blockLanes = kernels.panelLanes
    }

    var bytes: Int {
      8 * (tiles + words) + 4 * 2 * vectors
        + (rows + blockLanes) * MemoryLayout<attn_row_bias>.stride + gathered * (1 + 4 + 4)
        + 4 * Int(ATTN_BLOCK_KEYS)
    }
  }

  /// Bytes of one worker's.
  static func bytes(
    _ visibility: LoweredVisibility, _ shape: AttentionShape, kernels: KernelTable, panels: Int
  ) -> Int {
    visibility.rule == nil ? 0 : Sizes(shape, kernels: kernels, panels: panels).bytes
  }

  /// Nil where nothing is added or hidden key by key.
  init?(
    _ visibility: LoweredVisibility, _ shape: AttentionShape, kernels: KernelTable, panels: Int
  ) {
    guard let rule = visibility.rule else { return nil }
    let sizes = Sizes(shape, kernels: kernels, panels: panels)
    self.rule = rule
    map = visibility.tiles
    functions = kernels.functions
    lanes = kernels.panelLanes
    vectorLanes = kernels.vectorLanes
    vectors = sizes.vectors
    words = sizes.words
    tiles = .allocate(capacity: sizes.tiles)
    taskTiles = .allocate(capacity: words)
    windows = .allocate(capacity: 2 * vectors)
    rows = .allocate(capacity: sizes.rows)
    gatheredRows = .allocate(capacity: lanes)
    gatheredMask = .allocate(capacity: sizes.gathered)
    gatheredBias = .allocate(capacity: sizes.gathered)
    offsets = .allocate(capacity: Int(ATTN_BLOCK_KEYS))
    bias = .allocate(capacity: sizes.gathered)
  }

  deinit {
    tiles.deallocate()
    taskTiles.deallocate()
    windows.deallocate()
    rows.deallocate()
    gatheredRows.deallocate()
    gatheredMask.deallocate()
    gatheredBias.deallocate()
    offsets.deallocate()
    bias.deallocate()
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
