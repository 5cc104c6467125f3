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

  /// Creates a geometry in which all key rows are in use, unless `keyCapacity` says that there are
  /// more.
  public init(
    queryLength: Int, keyLength: Int, offset: Int, causal: Bool, prefixLength: Int = 0,
    keyCapacity: Int? = nil
  ) {
    self.queryLength = queryLength
    self.keyLength = keyLength
    self.keyCapacity = keyCapacity ?? keyLength
    self.offset = offset
    self.causal = causal
    self.prefixLength = prefixLength
  }

  /// The keys visible from `position` before any pattern restricts them.
  @inlinable
  public func visible(from position: Int) -> Range<Int> {
    causal ? 0..<min(max(position + 1, prefixLength, 0), keyLength) : 0..<keyLength
  }
}
