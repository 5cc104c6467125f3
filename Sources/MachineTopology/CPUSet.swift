/// A set of processing units (PUs: hardware threads), each named by the number that the operating
/// system gives it, as in `/proc/cpuinfo`, `taskset` and `/sys/devices/system/cpu/cpu0`.
public struct CPUSet: Hashable, Sendable {
  /// Bit `i % 64` of word `i / 64` says whether PU i is in the set. The last word is never 0, so
  /// that equal sets have equal words.
  private var words: [UInt64] = []

  /// The empty set.
  public init() {}

  /// The set of the given PUs.
  ///
  /// - Precondition: no number is negative.
  public init(_ indices: some Sequence<Int>) {
    for index in indices { insert(index) }
  }

  /// Adds one PU.
  ///
  /// - Returns: false if it was there before.
  /// - Precondition: `index >= 0`.
  @discardableResult
  public mutating func insert(_ index: Int) -> Bool {
    precondition(index >= 0, "PU \(index): processing units are numbered from 0")
    let (word, bit) = (index / 64, UInt64(1) << UInt64(index % 64))
    while words.count <= word { words.append(0) }
    defer { words[word] |= bit }
    return words[word] & bit == 0
  }

  /// Whether the set holds this PU.
  public func contains(_ index: Int) -> Bool {
    guard index >= 0, index / 64 < words.count else { return false }
    return words[index / 64] >> UInt64(index % 64) & 1 == 1
  }

  /// Whether the set holds no PU.
  public var isEmpty: Bool { words.isEmpty }

  /// How many PUs the set holds.
  public var count: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }

  /// The PUs in ascending order.
  public var indices: [Int] { (0..<words.count * 64).filter(contains) }

  /// The PUs that are in either set.
  public func union(_ other: CPUSet) -> CPUSet {
    combine(other, count: max(words.count, other.words.count)) { $0 | $1 }
  }

  /// The PUs that are in both sets.
  public func intersection(_ other: CPUSet) -> CPUSet {
    combine(other, count: min(words.count, other.words.count)) { $0 & $1 }
  }

  /// Whether every PU of this set is in `other`.
  public func isSubset(of other: CPUSet) -> Bool { intersection(other) == self }

  private func combine(
    _ other: CPUSet, count: Int, with operation: (UInt64, UInt64) -> UInt64
  ) -> CPUSet {
    var result = CPUSet()
    result.words = (0..<count).map { word in
      operation(
        word < words.count ? words[word] : 0, word < other.words.count ? other.words[word] : 0)
    }
    while result.words.last == 0 { result.words.removeLast() }
    return result
  }
}

extension CPUSet: CustomStringConvertible {
  /// The list as Linux writes it, `0-3,8`; `none` for the empty set.
  public var description: String { isEmpty ? "none" : IndexList.format(indices) }
}
