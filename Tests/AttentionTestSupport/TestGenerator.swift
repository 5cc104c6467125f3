/// A small seeded random number generator (SplitMix64; Steele, Lea & Flood 2014): the same numbers
/// on every machine, so that a failing case can be run again.
public struct TestGenerator: RandomNumberGenerator, Sendable {
  private var state: UInt64

  /// A generator whose sequence `seed` decides.
  public init(seed: Int) { state = UInt64(truncatingIfNeeded: seed) }

  /// 64 random bits.
  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  /// A uniform number in [0, 1).
  public mutating func uniform() -> Float { Float(next() >> 40) * 0x1p-24 }

  /// A number of mean 0 and variance 1: the centred sum of twelve uniform ones, within +-6.
  public mutating func normal() -> Float {
    var sum: Float = -6
    for _ in 0..<12 { sum += uniform() }
    return sum
  }

  public mutating func pick<C: RandomAccessCollection>(_ choices: C) -> C.Element {
    let step = Int(next() % UInt64(choices.count))
    return choices[choices.index(choices.startIndex, offsetBy: step)]
  }
}
