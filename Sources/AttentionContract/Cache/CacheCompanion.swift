import AttentionKernels
import Tensors

/// What a decoder keeps of the past beside keys and values, for a strategy that selects from it: it grows
/// with the cache, so that a step need not go over all of it.
package protocol CacheCompanion: AnyObject, Sendable {
  /// What it takes of a step beyond query, key and value; axes of lengths have the step's new rows.
  var declaredOperands: [OperandDeclaration] { get }
  /// Bytes that it keeps.
  var bytes: Int { get }

  /// Refuses tokens that came into the cache or left it without its knowing.
  ///
  /// - Throws: `AttentionError` naming the cache.
  func check(_ cache: any KeyValueCache) throws(AttentionError)

  /// A step has brought `counts` new tokens, all rows of the step where nil, which are in the cache now.
  ///
  /// - Parameter inputs: of the step; kept alive until it ends.
  func begin(_ inputs: InputViews, cache: any KeyValueCache, counts: [Int]?)

  /// The step has ended.
  ///
  /// - Parameter attended: false where the new tokens only came into the cache.
  func end(attended: Bool)

  /// Tokens of an entry from `count` on are forgotten.
  func truncate(entry: Int, to count: Int)
}
