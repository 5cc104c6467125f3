import AttentionKernels
import Tensors

/// A sequence of key rows: `key(t) = start + (t / run) * period + t % run`.
///
/// Consecutive keys have `run == period`; every l-th key has `run == 1, period == l`; the last `c`
/// of every `l` have `run == c, period == l`.
public struct KeySequence: Sendable, Hashable {
  /// The key at `t == 0`.
  public let start: Int
  /// Consecutive keys taken at a time.
  public let run: Int
  /// Distance from one run's first key to the next's.
  public let period: Int
  /// How many keys the sequence has.
  public let count: Int

  /// Consecutive keys.
  public init(_ keys: Range<Int>) {
    self.init(start: keys.lowerBound, run: 1, period: 1, count: keys.count)
  }

  /// `count` keys in runs of `run`, `period` apart.
  public init(start: Int, run: Int = 1, period: Int, count: Int) {
    self.start = start
    self.run = run
    self.period = period
    self.count = count
  }

  /// Every `period`-th key from `start` on, of those before `end`.
  public init(start: Int, period: Int, before end: Int) {
    self.init(start: start, period: period, count: max(0, (end - start + period - 1) / period))
  }

  /// The key row at place `t`.
  @inlinable @inline(__always)
  public func key(_ t: Int) -> Int {
    run == 1 ? start + t * period : start + (t / run) * period + t % run
  }

  /// Its places whose keys lie in a range.
  public func places(in keys: Range<Int>) -> Range<Int> {
    places(before: keys.lowerBound)..<places(before: keys.upperBound)
  }

  /// How many of its keys lie before `key`: its first places.
  package func places(before key: Int) -> Int {
    let distance = key - start
    if distance <= 0 { return 0 }
    return min(count, distance / period * run + min(distance % period, run))
  }
}

/// Which keys each query sees: the definition of a restricted softmax, in two forms.
///
/// `includes` says it pair by pair, for oracles and drawings. `rowStrides`, `sequences` and `range`
/// say it as the engine reads it: in each pass, query rows whose positions agree modulo the pass's
/// row stride travel together and see, in each of the pass's key sequences, one contiguous range of
/// places. The ranges of all passes
/// must lie within what the geometry leaves visible, be disjoint, and their union must be what `includes` says; the tests check both for every
/// registered strategy. Partial results of several passes are merged exactly.
///
/// The number of keys in use only ends a pattern: one of more keys sees, up to the fewer, the same
/// keys from the same position, in sequences that begin with the same keys. So one pattern serves a
/// cache while it grows; `keyCapacity` is what parameters may follow from.
public protocol KeyPattern: Sendable {
  /// The positions and the causal mask the pattern lives under.
  var geometry: MaskGeometry { get }
  /// Whether the query at `position` sees `key`.
  func includes(position: Int, key: Int) -> Bool
  /// The distance between query rows that travel together, for each pass.
  var rowStrides: [Int] { get }
  /// The key sequences of a pass for rows whose positions are `residue` modulo its row stride.
  func sequences(pass: Int, residue: Int) -> [KeySequence]
  /// One of them. By default looked up in `sequences`; a pattern with a row stride other than 1 does
  /// well to give it without allocating, since plans for a few query rows ask for it in every run.
  func sequence(_ index: Int, pass: Int, residue: Int) -> KeySequence
  /// The places of sequence `index` that the query at `position` sees; may be empty.
  func range(pass: Int, sequence index: Int, position: Int) -> Range<Int>
}

extension KeyPattern {
  public func sequence(_ index: Int, pass: Int, residue: Int) -> KeySequence {
    sequences(pass: pass, residue: residue)[index]
  }

  /// The number of pairs one head scores under the pattern.
  ///
  /// - Complexity: O(nQ) range look-ups per sequence.
  public var pairs: Int {
    var total = 0
    for (pass, stride) in rowStrides.enumerated() {
      let sequences = (0..<stride).prefix(1).map { self.sequences(pass: pass, residue: $0).count }
      for row in 0..<geometry.queryLength {
        for index in 0..<(sequences.first ?? 0) {
          total += range(pass: pass, sequence: index, position: row + geometry.offset).count
        }
      }
    }
    return total
  }
}

/// Every key the mask leaves visible.
public struct DensePattern: KeyPattern {
  public let geometry: MaskGeometry

  /// All keys under the geometry's causal mask.
  public init(_ geometry: MaskGeometry) { self.geometry = geometry }

  public func includes(position: Int, key: Int) -> Bool {
    geometry.visible(from: position).contains(key)
  }

  public var rowStrides: [Int] { [1] }

  public func sequences(pass: Int, residue: Int) -> [KeySequence] {
    [KeySequence(0..<geometry.keyLength)]
  }

  public func range(pass: Int, sequence index: Int, position: Int) -> Range<Int> {
    geometry.visible(from: position)
  }
}
