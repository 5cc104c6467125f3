extension StrategyRegistry {
  /// The strategies of this package: one line each.
  public static let standard = StrategyRegistry([
    ExactAttention.self,
    FlashAttention.self,
    WindowAttention.self,
    StridedAttention.self,
    FixedAttention.self,
    LinearAttention.self,
  ])
}
