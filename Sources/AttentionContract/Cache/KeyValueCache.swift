import AttentionKernels
import Tensors

/// Keys and values of the tokens so far, which a step of decoding adds to and attends over.
///
/// Keys are stored as they are given: where they carry their position, by a rotation for example,
/// the caller has applied it. A cache is used by one thread at a time. Appending allocates nothing.
public protocol KeyValueCache: AnyObject {
  /// The sizes that do not grow.
  var shape: CacheShape { get }
  /// How rows are stored.
  var elementType: ElementType { get }
  /// Rows held, one number a batch entry: what a query attends over.
  var lengths: [Int] { get }
  /// Tokens taken in since the entry was empty, one number a batch entry: the position of the next.
  var tokens: [Int] { get }
  /// How often tokens have been forgotten: a row that was read before may be another's since.
  var truncations: Int { get }
  /// Rows there is room for in every batch entry.
  var capacity: Int { get }
  /// Whether row j of an entry is that of its j-th token: whether everything is kept.
  var keepsPositions: Bool { get }
  /// Bytes of keys, values, scales and tables, used or not.
  var bytes: Int { get }

  /// Adds rows at the end of every entry, all or, when an error is thrown, none.
  ///
  /// - Parameters:
  ///   - key: `[b, hKV, n, d]`, of any floating-point type; converted to the cache's.
  ///   - value: `[b, hKV, n, dV]`, likewise.
  ///   - counts: how many of the n rows each entry takes, the first ones; nil for all.
  /// - Throws: `AttentionError` of kind `shapeMismatch` or `invalidArgument` naming the tensor;
  ///   `notFinite` for a NaN or an infinity that would have to become an 8-bit integer;
  ///   `capacityExhausted` when there is no room.
  func append(
    key: TensorView, value: TensorView, counts: [Int]?
  ) throws(AttentionError)

  /// How many rows of an entry are held once it has taken in `count` tokens more.
  func length(entry: Int, adding count: Int) -> Int

  /// The keys `[b, hKV, rows, d]` and values `[b, hKV, rows, dV]`, of which those at or after
  /// `lengths` must not be read.
  ///
  /// - Parameter rows: what the views' shapes say; at least the longest of `lengths`.
  func views(rows: Int) -> (key: TensorView, value: TensorView)

  /// Forgets the newest tokens of an entry until `count` are left: those that a speculation brought
  /// and that were not accepted.
  ///
  /// - Throws: `AttentionError` of kind `invalidArgument` when the entry does not have as many
  ///   tokens, or older ones would have to come back.
  func truncate(entry: Int, to count: Int) throws(AttentionError)
}

extension KeyValueCache {
  /// Adds rows at the end of every entry; see `append(key:value:counts:)`.
  public func append(key: TensorView, value: TensorView) throws(AttentionError) {
    try append(key: key, value: value, counts: nil)
  }

  /// Forgets everything. Channel scales that were measured will be measured anew.
  public func removeAll() {
    for entry in 0..<shape.batch {
      // Nothing is left of an entry: there is nothing to refuse.
      try? truncate(entry: entry, to: 0)
    }
  }

  /// Refuses a length that an entry does not have.
  func checkTruncation(entry: Int, to count: Int) throws(AttentionError) {
    guard (0..<shape.batch).contains(entry) else {
      throw AttentionError(
        .invalidArgument, argument: "entry", value: entry, advice: "must be in 0..<\(shape.batch)")
    }
    guard (0...tokens[entry]).contains(count) else {
      throw AttentionError(
        .invalidArgument, argument: "count", value: count,
        advice: "entry \(entry) has \(tokens[entry]) tokens; it can only become shorter")
    }
  }
}
