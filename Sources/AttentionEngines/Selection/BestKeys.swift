import AttentionKernels
import CAttentionKernels

/// The best of a row's keys by their scores, of equal scores those that come first; a NaN is better than any
/// number.
///
/// Most keys are passed over by one comparison with a limit, which a sample of the row's scores suggests and
/// which rises where too many pass. What passed is cut down to the best at the end: the limit that leaves as
/// many as are wanted is found by counting, since counting takes less than a nanosecond a vector.
struct BestKeys {
  /// Keys that may wait to be cut down, for so many wanted.
  static func capacity(_ top: Int) -> Int { 2 * top }

  /// Floats and keys of memory, where up to `offered` keys are offered at a time. Kernels write whole
  /// vectors.
  static func room(_ top: Int, offered: Int) -> Int { capacity(top) + offered + 16 }

  let scores: UnsafeMutablePointer<Float>
  let keys: UnsafeMutablePointer<Int32>
  private(set) var count = 0
  private let top: Int
  private var limit: Float
  private let functions: UnsafePointer<attn_kernels>

  /// - Parameters:
  ///   - limit: keys that score less are not looked at; -inf for none.
  ///   - scores, keys: `room` each.
  init(
    top: Int, limit: Float = -.infinity, scores: UnsafeMutablePointer<Float>,
    keys: UnsafeMutablePointer<Int32>, _ functions: UnsafePointer<attn_kernels>
  ) {
    (self.top, self.limit, self.scores, self.keys) = (top, limit, scores, keys)
    self.functions = functions
  }

  /// Offers consecutive keys, which come after all that were offered before.
  mutating func offer(_ offered: UnsafePointer<Float>, first: Int, count offeredCount: Int) {
    count += Int(
      functions.pointee.keep_from(
        offered, nil, Int32(first), Int64(offeredCount), limit, scores + count, keys + count))
    if count > Self.capacity(top) { cut() }
  }

  /// Cuts down to the best. The keys then rise.
  ///
  /// - Returns: whether there are as many as wanted; the limit was too high otherwise.
  mutating func finish() -> Bool {
    if count > top { cut() }
    return count == top
  }

  private mutating func cut() {
    let found = Self.limit(of: top, in: scores, count: count, from: limit, functions)
    if found.isExact {
      count = Int(
        functions.pointee.keep_from(scores, keys, 0, Int64(count), found.limit, scores, keys))
    } else {
      keepTies(found.limit)
    }
    // A key that comes later loses against those that score the same.
    limit = max(limit, found.limit.nextUp)
  }

  /// Keeps what is better than the limit and of its equals the first.
  private mutating func keepTies(_ limit: Float) {
    var ties = top
    for place in 0..<count where scores[place] > limit { ties -= 1 }
    var kept = 0
    for place in 0..<count {
      let score = scores[place]
      if score < limit { continue }
      if score == limit {
        if ties <= 0 { continue }
        ties -= 1
      }
      (scores[kept], keys[kept]) = (score, keys[place])
      kept += 1
    }
    count = kept
  }

  /// The largest limit that at least `top` of the scores reach, and whether no more of them do.
  ///
  /// Numbers are halved between by their order among the floats: at most 32 counts.
  static func limit(
    of top: Int, in scores: UnsafePointer<Float>, count: Int, from least: Float,
    _ functions: UnsafePointer<attn_kernels>
  ) -> (limit: Float, isExact: Bool) {
    var low = order(least)
    var high = order(.infinity) + 1
    if count == top { return (least, true) }
    while high - low > 1 {
      let middle = low + (high - low) / 2
      let reached = Int(functions.pointee.count_from(scores, Int64(count), float(middle)))
      if reached == top { return (float(middle), true) }
      if reached > top { low = middle } else { high = middle }
    }
    return (float(low), false)
  }

  /// Where a float stands among all floats.
  private static func order(_ x: Float) -> Int {
    let bits = Int32(bitPattern: x.bitPattern)
    return Int(bits < 0 ? bits ^ .max : bits)
  }

  private static func float(_ order: Int) -> Float {
    let bits = Int32(truncatingIfNeeded: order)
    return Float(bitPattern: UInt32(bitPattern: bits < 0 ? bits ^ .max : bits))
  }
}
