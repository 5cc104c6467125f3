import Attention

/// Sizes around the edges of the engine's tiles: equal, one less, one more.
public enum TileEdges {
  /// Sequence lengths: 1, 2, and around tiles of keys, vectors, panels and blocks of the
  /// instruction set in force, and around two and four panels.
  public static let lengths: [Int] = {
    let kernels = KernelTable.active
    let edges = [8, kernels.vectorLanes, kernels.panelLanes, 2 * kernels.panelLanes, 128]
    let around = edges.flatMap { [$0 - 1, $0, $0 + 1] }
    let far = [4 * kernels.panelLanes - 1, 4 * kernels.panelLanes + 1, 257]
    return Set([1, 2] + around + far).sorted()
  }()

  /// Head dimensions: below, at and above vectors and column tiles of every instruction set, and
  /// the sizes that models use.
  public static let dimensions = [
    1, 3, 8, 15, 16, 17, 31, 33, 64, 65, 72, 80, 96, 128, 256,
  ]
}
