import Records
import Statistics
import Units

extension SeededGenerator {
  /// A generator for one purpose of many that share a seed: the same path gives the same sequence,
  /// and paths that differ in one number are unrelated.
  package init(seed: UInt64, path: [Int]) {
    var mixed = SplitMix64(seed: seed).firstWord
    for part in path {
      mixed = SplitMix64(seed: mixed ^ UInt64(bitPattern: Int64(part))).firstWord
    }
    self.init(seed: mixed)
  }
}

extension SplitMix64 {
  fileprivate var firstWord: UInt64 {
    var copy = self
    return copy.next()
  }
}
