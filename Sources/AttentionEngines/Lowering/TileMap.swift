import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// What mask and bias leave visible, in tiles of keys: for every query row and tile, whether any key
/// of it is visible, and whether all are and nothing is added to their scores.
///
/// Two bits for 16 keys of a row, so that whole tiles are passed over, or met without a look at the
/// mask. An axis along which mask and bias are both broadcast has size 1 here too.
final class TileMap: Sendable {
  static let tileKeys = 16
  private static let tilesPerWord = 64

  let axes: RowAxes
  /// Words of a row in each of its two bit sets: one more than there are tiles for, so that a
  /// window of tiles can be read from any place.
  let words: Int
  private let arena: Arena
  /// `[rows][2][words]`.
  private let bits: ArenaPart<UInt64>

  /// Bytes of a rule's map; 0 where there is no mask and no bias.
  static func bytes(_ rule: BiasRule?, keyLength: Int) -> Int {
    rule?.axes.map { layout($0, words: words(keyLength)).arena.bytes } ?? 0
  }

  static func words(_ keys: Int) -> Int {
    (keys + tileKeys * tilesPerWord - 1) / (tileKeys * tilesPerWord) + 1
  }

  private static func layout(
    _ axes: RowAxes, words: Int
  ) -> (arena: ArenaLayout, bits: ArenaPart<UInt64>) {
    var arena = ArenaLayout()
    let bits: ArenaPart<UInt64> = arena.add(2 * words * axes.rowCount)
    return (arena, bits)
  }

  /// The map of a rule; nil where there is no mask and no bias.
  init?(_ rule: BiasRule, keyLength: Int, kernels: KernelTable) throws(AttentionError) {
    guard let axes = rule.axes else { return nil }
    self.axes = axes
    words = TileMap.words(keyLength)
    let layout = TileMap.layout(axes, words: words)
    arena = try Arena(layout.arena, for: "map of the mask")
    bits = layout.bits
    let keys = VisibleKeys(rule, keyLength, kernels)
    for batch in 0..<axes.batch {
      for head in 0..<axes.heads {
        for row in 0..<axes.rows {
          keys.read(batch, head, row)
          let tiles = UnsafeMutablePointer(mutating: visible(batch, head, row))
          for word in 0..<keys.words {
            let shift = UInt64(word % 16 * 4)
            tiles[word / 16] |= TileMap.tiles(in: keys.visible[word]) { $0 != 0 } << shift
            tiles[words + word / 16] |=
              TileMap.tiles(in: keys.plain[word]) { $0 == 0xffff } << shift
          }
        }
      }
    }
  }

  /// One bit for each of the four tiles of 64 keys.
  @inline(__always)
  private static func tiles(in word: UInt64, where holds: (UInt64) -> Bool) -> UInt64 {
    var bits: UInt64 = 0
    for tile in 0..<4 where holds(word >> UInt64(16 * tile) & 0xffff) {
      bits |= 1 << UInt64(tile)
    }
    return bits
  }

  /// A row's tiles of which some key is visible.
  @inline(__always)
  func visible(_ batch: Int, _ head: Int, _ row: Int) -> UnsafePointer<UInt64> {
    UnsafePointer(arena[bits] + axes.index(batch, head, row) * 2 * words)
  }

  /// A row's tiles of which all keys are visible and no score changes.
  @inline(__always)
  func plain(_ batch: Int, _ head: Int, _ row: Int) -> UnsafePointer<UInt64> {
    visible(batch, head, row) + words
  }

  /// Keys of a range that lie in tiles which some of the rows sees, to the tile.
  func visibleKeys(_ batch: Int, heads: Range<Int>, rows: [Int], keys: Range<Int>) -> Int {
    let tiles = keys.lowerBound / TileMap.tileKeys...(keys.upperBound - 1) / TileMap.tileKeys
    let places = tiles.lowerBound / TileMap.tilesPerWord...tiles.upperBound / TileMap.tilesPerWord
    let sets = (axes.heads == 1 ? heads.prefix(1) : heads[...]).flatMap { head in
      (axes.rows == 1 ? rows.prefix(1) : rows[...]).map { visible(batch, head, $0) }
    }
    var count = 0
    for place in places {
      var bits = sets.reduce(0) { $0 | $1[place] }
      if place == places.lowerBound {
        bits &= ~0 << UInt64(tiles.lowerBound % TileMap.tilesPerWord)
      }
      if place == places.upperBound {
        bits &= ~0 >> UInt64(63 - tiles.upperBound % TileMap.tilesPerWord)
      }
      count += bits.nonzeroBitCount
    }
    return count * TileMap.tileKeys
  }

  /// Up to 32 bits of a set from a tile on.
  @inline(__always)
  static func window(_ set: UnsafePointer<UInt64>, from tile: Int, count: Int) -> UInt32 {
    let (word, shift) = (tile / tilesPerWord, UInt64(tile % tilesPerWord))
    let bits = set[word] >> shift | (shift == 0 ? 0 : set[word + 1] << (64 - shift))
    return UInt32(truncatingIfNeeded: bits) & UInt32((1 << UInt64(count)) - 1)
  }
}
