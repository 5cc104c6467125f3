import AttentionKernels
import Tensors

/// The first tokens and the newest: memory that does not grow however long the sequence gets.
///
/// An entry keeps the keys and values of its first `sinks` tokens for good and of the newest
/// `window` tokens after those; each further token takes the place of the oldest of the window.
/// Attention is over everything held, at most `sinks + window` rows, in whatever order they lie:
/// what `window(w, sinks: s)` computes under a causal mask.
///
/// Keys keep the position encoding they were given, so that with a rotary encoding the distance to
/// the sinks grows with the text. The paper counts positions within the cache instead: a caller who
/// wants that rotates what `views` shows anew, by `position(entry:row:)`.
///
/// Xiao 2023, arXiv 2309.17453 (StreamingLLM).
public final class RollingCache: KeyValueCache {
  /// Tokens at the beginning that are never dropped.
  public let sinks: Int
  /// Newest tokens kept besides.
  public let window: Int
  private let rows: CacheRows
  public private(set) var lengths: [Int]
  public private(set) var truncations = 0
  public private(set) var tokens: [Int]
  private let memory: DenseRows

  /// A cache of `sinks + window` rows a batch entry.
  ///
  /// - Parameter channelScales: for `int8PerChannel`; left out, they are measured from the rows
  ///   that an empty entry takes in first.
  /// - Throws: `AttentionError` when a size is out of range, scales do not fit, or memory is
  ///   refused.
  public init(
    _ shape: CacheShape, sinks: Int = 0, window: Int, elementType: ElementType = .float32,
    channelScales: ChannelScales? = nil
  ) throws(AttentionError) {
    for (name, size, least) in [("sinks", sinks, 0), ("window", window, 1)] {
      if !(least...AttentionShape.maximumLength).contains(size) {
        throw AttentionError(
          .invalidArgument, argument: name, value: size,
          advice: "must be in \(least)...\(AttentionShape.maximumLength)")
      }
    }
    self.sinks = sinks
    self.window = window
    rows = try CacheRows(shape, elementType, scales: channelScales)
    memory = try DenseRows(capacity: sinks + window, "sinks + window", of: rows)
    lengths = Array(repeating: 0, count: shape.batch)
    tokens = lengths
  }

  public var shape: CacheShape { rows.shape }
  public var elementType: ElementType { rows.elementType }
  public var keepsPositions: Bool { false }
  public var bytes: Int { memory.bytes + rows.bytes }

  public var capacity: Int { memory.capacity }

  /// Where a token lies: sinks first, then the window as a ring.
  private func slot(_ token: Int) -> Int {
    token < sinks ? token : sinks + (token - sinks) % window
  }

  /// The number of the token, counted from 0, that lies in a row of an entry.
  ///
  /// - Precondition: `row` is below `lengths[entry]`.
  public func position(entry: Int, row: Int) -> Int {
    if row < sinks { return row }
    let newest = tokens[entry] - 1
    let behind = (slot(newest) - row + window) % window
    return newest - behind
  }

  public func append(
    key: TensorView, value: TensorView, counts: [Int]?
  ) throws(AttentionError) {
    try rows.check(key, value, counts: counts)
    let views = views(rows: capacity)
    for entry in 0..<shape.batch {
      let count = counts?[entry] ?? key.shape.rows
      if tokens[entry] == 0 { rows.calibrate(entry: entry, key, value, count: count) }
      let end = tokens[entry] + count
      for row in 0..<count {
        let token = tokens[entry] + row
        // What the same rows push out again need not be stored.
        if token >= sinks, token < end - window { continue }
        rows.store(key, value, entry: entry, row: row, in: views, slot: slot(token))
      }
      tokens[entry] = end
      lengths[entry] = min(end, capacity)
    }
  }

  public func length(entry: Int, adding count: Int) -> Int {
    min(tokens[entry] + count, capacity)
  }

  public func views(rows count: Int) -> (key: TensorView, value: TensorView) {
    memory.views(rows: count)
  }

  /// Forgets the newest tokens of an entry until `count` are left; possible while none has been
  /// dropped, and for all of them.
  public func truncate(entry: Int, to count: Int) throws(AttentionError) {
    try checkTruncation(entry: entry, to: count)
    if count != 0, count != tokens[entry], tokens[entry] > capacity {
      throw AttentionError(
        .invalidArgument, argument: "count", value: count,
        advice: "entry \(entry) has dropped tokens that would have to come back; append a token "
          + "only once it is accepted, or truncate to 0")
    }
    tokens[entry] = count
    lengths[entry] = count
    truncations += 1
  }
}
