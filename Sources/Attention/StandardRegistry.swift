import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

extension StrategyRegistry {
  /// The strategies of this package: one line each.
  public static let standard = StrategyRegistry([
    FullAttention.family,
    FlashAttention.family,
    WindowAttention.family,
    StridedAttention.family,
    FixedAttention.family,
    DilatedAttention.family,
    ChunkedAttention.family,
    BigBirdAttention.family,
    TopBlocks.family,
    Quest.family,
    VerticalSlash.family,
    TopKeys.family,
    Indexer.family,
    NativeSparseAttention.family,
    NystromAttention.family,
    LinearAttention.family,
    GatedAttention.family,
    DeltaAttention.family,
    GatedDeltaAttention.family,
    Retention.family,
    StateSpace.family,
    AdditiveAttention.family,
    GeneralAttention.family,
    LocalMonotonic.family,
    LocalPredictive.family,
  ])
}
