import AttentionKernels
import Tensors

/// The mask of one sequence: which positions queries hold and what causality leaves visible.
public struct MaskGeometry: Sendable, Hashable {
  /// Query rows.
  public let queryLength: Int
  /// Key rows in use.
  public let keyLength: Int
  /// Key rows there are: parameters that follow from a length follow from this one, so that they
  /// are the same for every batch entry.
  public let keyCapacity: Int
  /// Query `i` stands at position `i + offset`.
  public let offset: Int
  /// Whether position `p` sees only keys `j <= p`.
  public let causal: Bool
  /// Leading keys that every position sees in spite of a causal mask.
  public let prefixLength: Int
  /// Keys before and after its own that a position sees; beyond all keys where there is no limit.
  public let windowLeft: Int
  public let windowRight: Int
  /// Positions of a chunk, which sees only itself; 0 where there are no chunks.
  public let chunk: Int

  /// Creates a geometry in which all key rows are in use, unless `keyCapacity` says that there are
  /// more.
  public init(
    queryLength: Int, keyLength: Int, offset: Int, causal: Bool, prefixLength: Int = 0,
    windowLeft: Int? = nil, windowRight: Int? = nil, chunk: Int? = nil, keyCapacity: Int? = nil
  ) {
    self.queryLength = queryLength
    self.keyLength = keyLength
    self.keyCapacity = keyCapacity ?? keyLength
    self.offset = offset
    self.causal = causal
    self.prefixLength = prefixLength
    self.windowLeft = windowLeft ?? Self.unlimited
    self.windowRight = windowRight ?? Self.unlimited
    self.chunk = chunk ?? 0
  }

  /// Farther than any two positions are apart, and small enough to be added to one.
  private static let unlimited = 1 << 40

  /// Whether all positions see the same keys.
  public var isUniform: Bool {
    !causal && chunk == 0 && windowLeft >= Self.unlimited && windowRight >= Self.unlimited
  }

  /// The keys visible from `position` before any pattern restricts them. Where there are none the range
  /// is empty.
  @inlinable
  public func visible(from position: Int) -> Range<Int> {
    var first = position - windowLeft
    var end = min(position + windowRight + 1, keyLength)
    if causal { end = min(end, max(position + 1, prefixLength)) }
    if chunk > 0 {
      let own = position - (position % chunk + chunk) % chunk
      first = max(first, own)
      end = min(end, own + chunk)
    }
    end = max(0, end)
    return min(max(first, 0), end)..<end
  }
}
