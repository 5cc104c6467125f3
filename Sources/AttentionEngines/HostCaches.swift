import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

extension BlockSizes.Caches {
  /// What hwloc reports of this machine, or a small common core where it reports nothing.
  static let host: BlockSizes.Caches = {
    let topology = try? MachineTopology.host()
    return BlockSizes.Caches(
      level1: topology?.dataCache(level: 1)?.byteCount ?? 32 << 10,
      level2: topology?.dataCache(level: 2)?.byteCount ?? 512 << 10)
  }()
}
