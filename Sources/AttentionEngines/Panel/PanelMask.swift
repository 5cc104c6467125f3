import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// One worker's view of masks, biases and slopes: what the panels of a task see of the tiles, where
/// their rows of mask and bias are, and the bias of the block in work.
final class PanelMask: @unchecked Sendable {
  let problem: AttentionProblem
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
  /// `[panels][L]` rows of mask and bias, and where the queries stand.
  let maskRows: UnsafeMutablePointer<UnsafePointer<UInt8>>
  let biasRows: UnsafeMutablePointer<UnsafePointer<Float>>
  let positions: UnsafeMutablePointer<Int>
  /// `[L]` rows of what was gathered for keys that are not consecutive, `[L][ATTN_BLOCK_KEYS]` each.
  let gatheredMaskRows: UnsafeMutablePointer<UnsafePointer<UInt8>>
  let gatheredBiasRows: UnsafeMutablePointer<UnsafePointer<Float>>
  let gatheredMask: UnsafeMutablePointer<UInt8>
  let gatheredBias: UnsafeMutablePointer<Float>
  /// `[panels][L]` slopes in log16 units, `[L]` distances, `[ATTN_BLOCK_KEYS]` offsets of places.
  let slopes: UnsafeMutablePointer<Float>
  let distances: UnsafeMutablePointer<Float>
  let offsets: UnsafeMutablePointer<Float>
  /// `[ATTN_BLOCK_KEYS][L]`: what the kernels read.
  let bias: UnsafeMutablePointer<Float>

  /// Whether a problem needs one.
  static func isNeeded(_ problem: AttentionProblem) -> Bool {
    problem.visibility.mask != nil || problem.visibility.bias != nil
      || problem.visibility.alibiSlopes != nil
  }

  private struct Sizes {
    let tiles: Int
    let words: Int
    let vectors: Int
    let rows: Int
    let gathered: Int
    let blockLanes: Int

    init(_ problem: AttentionProblem, kernels: KernelTable, panels: Int) {
      words = TileMap.words(problem.shape.keyLength)
      vectors = kernels.panelLanes / kernels.vectorLanes
      tiles = panels * vectors * 2 * words
      rows = panels * kernels.panelLanes
      gathered = kernels.panelLanes * Int(ATTN_BLOCK_KEYS)
      blockLanes = kernels.panelLanes
    }

    var bytes: Int {
      let pointer = MemoryLayout<UnsafeRawPointer>.stride
      return 8 * (tiles + words) + 4 * 2 * vectors + rows * (2 * pointer + 8 + 4)
        + blockLanes * (2 * pointer + 4) + gathered * (1 + 4 + 4) + 4 * Int(ATTN_BLOCK_KEYS)
    }
  }

  /// Bytes of one worker's.
  static func bytes(_ problem: AttentionProblem, kernels: KernelTable, panels: Int) -> Int {
    isNeeded(problem) ? Sizes(problem, kernels: kernels, panels: panels).bytes : 0
  }

  /// Nil for a problem that needs none.
  init?(_ problem: AttentionProblem, map: TileMap?, kernels: KernelTable, panels: Int) {
    if !PanelMask.isNeeded(problem) { return nil }
    let sizes = Sizes(problem, kernels: kernels, panels: panels)
    self.problem = problem
    self.map = map
    functions = kernels.functions
    lanes = kernels.panelLanes
    vectorLanes = kernels.vectorLanes
    vectors = sizes.vectors
    words = sizes.words
    tiles = .allocate(capacity: sizes.tiles)
    taskTiles = .allocate(capacity: words)
    windows = .allocate(capacity: 2 * vectors)
    maskRows = .allocate(capacity: sizes.rows)
    biasRows = .allocate(capacity: sizes.rows)
    positions = .allocate(capacity: sizes.rows)
    gatheredMaskRows = .allocate(capacity: lanes)
    gatheredBiasRows = .allocate(capacity: lanes)
    gatheredMask = .allocate(capacity: sizes.gathered)
    gatheredBias = .allocate(capacity: sizes.gathered)
    slopes = .allocate(capacity: sizes.rows)
    distances = .allocate(capacity: lanes)
    offsets = .allocate(capacity: Int(ATTN_BLOCK_KEYS))
    bias = .allocate(capacity: sizes.gathered)
    for lane in 0..<lanes {
      gatheredMaskRows[lane] = UnsafePointer(gatheredMask + lane * Int(ATTN_BLOCK_KEYS))
      gatheredBiasRows[lane] = UnsafePointer(gatheredBias + lane * Int(ATTN_BLOCK_KEYS))
    }
  }

  deinit {
    tiles.deallocate()
    taskTiles.deallocate()
    windows.deallocate()
    maskRows.deallocate()
    biasRows.deallocate()
    positions.deallocate()
    gatheredMaskRows.deallocate()
    gatheredBiasRows.deallocate()
    gatheredMask.deallocate()
    gatheredBias.deallocate()
    slopes.deallocate()
    distances.deallocate()
    offsets.deallocate()
    bias.deallocate()
  }

  /// Starts a task, of which nothing is known yet.
  func beginTask() { taskTiles.update(repeating: 0, count: words) }

  /// Reads what a panel of the task sees.
  ///
  /// - Parameter offset: what a row has to be moved by to be a position.
  func begin(_ slot: Int, _ rows: PanelRows, batch: Int, offset: Int) {
    let live = rows.live
    let first = slot * lanes
    let start = tiles + slot * vectors * 2 * words
    for vector in 0..<vectors {
      (start + vector * 2 * words).update(repeating: 0, count: words)
      (start + (vector * 2 + 1) * words).update(repeating: ~0, count: words)
    }
    rows.forEach { lane, head, row in
      positions[first + lane] = row + offset
      if let slope = problem.visibility.alibiSlopes?[head] {
        slopes[first + lane] = slope * .log16e
      }
      if let mask = problem.visibility.mask { maskRows[first + lane] = mask.row(batch, head, row) }
      if let bias = problem.visibility.bias { biasRows[first + lane] = bias.row(batch, head, row) }
      guard let map else { return }
      let (visible, plain) = (map.visible(batch, head, row), map.plain(batch, head, row))
      let seen = start + lane / vectorLanes * 2 * words
      for word in 0..<words {
        seen[word] |= visible[word]
        seen[words + word] &= plain[word]
        taskTiles[word] |= visible[word]
      }
    }
    if problem.visibility.alibiSlopes != nil {
      for vector in 0..<vectors {
        (start + (vector * 2 + 1) * words).update(repeating: 0, count: words)
      }
    }
    // Lanes beyond the last row repeat it, as bounds do.
    for lane in live..<lanes {
      positions[first + lane] = positions[first + live - 1]
      if problem.visibility.alibiSlopes != nil { slopes[first + lane] = slopes[first + live - 1] }
      if problem.visibility.mask != nil { maskRows[first + lane] = maskRows[first + live - 1] }
      if problem.visibility.bias != nil { biasRows[first + lane] = biasRows[first + live - 1] }
    }
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
