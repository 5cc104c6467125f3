import CAttentionKernels

/// How fast one core multiplies in each arithmetic that it has, in flop/s: measured, since a processor may have
/// instructions that are slower than those they should replace.
///
/// Measured once, for some milliseconds, when first asked for.
public struct ProductRates: Sendable {
  /// The rates by arithmetic.
  public let rates: [Arithmetic: Double]

  /// With the kernels in force.
  public static let active = ProductRates(of: .active)

  init(of kernels: KernelTable) {
    let clock = ContinuousClock()
    let lanes = Double(kernels.vectorLanes) * Double(kernels.functions.pointee.chains)
    var rates: [Arithmetic: Double] = [:]
    // In turn, so that a clock that rises or a neighbour that comes changes all of them.
    for _ in 0..<5 {
      for arithmetic in kernels.arithmetics {
        let format = OperandFormat(arithmetic, in: kernels).code
        guard let table = attn_format_table(kernels.functions, format) else { continue }
        let products = Double(table.pointee.round_products)
        let rounds: Int64 = 1 << 13
        let time = clock.measure { _ = table.pointee.product_rounds(rounds) }
        let rate = 2 * lanes * products * Double(rounds) / (time / .seconds(1))
        rates[arithmetic] = max(rates[arithmetic] ?? 0, rate)
      }
    }
    self.rates = rates
  }

  /// How many times as fast as in fp32; nil where the processor has no such products.
  public func speedup(_ arithmetic: Arithmetic) -> Double? {
    guard let rate = rates[arithmetic], let single = rates[.float32], single > 0 else { return nil }
    return rate / single
  }

  /// Narrower arithmetics that are worth a look, the fastest first.
  public var faster: [Arithmetic] {
    rates.keys.filter { (speedup($0) ?? 0) > 1.2 }
      .sorted { (rates[$0] ?? 0, $0.rawValue) > (rates[$1] ?? 0, $1.rawValue) }
  }
}
