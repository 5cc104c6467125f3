import CAttentionKernels

/// The machine's own limits, measured with the vectors the kernels use.
extension KernelTable {
  /// Runs `rounds` rounds of independent fused multiply-adds on registers; the value keeps the
  /// compiler from dropping them.
  public func fmaRounds(_ rounds: Int) -> Float { functions.pointee.fma_rounds(Int64(rounds)) }

  /// Floating-point operations of one round.
  public var fmaFlopsPerRound: Double { Double(functions.pointee.fma_flops_per_round) }

  /// Reads every float once; the value keeps the compiler from dropping the reads.
  public func readFloats(_ floats: UnsafeBufferPointer<Float>) -> Float {
    guard let base = floats.baseAddress else { return 0 }
    return functions.pointee.read_floats(base, Int64(floats.count))
  }
}
