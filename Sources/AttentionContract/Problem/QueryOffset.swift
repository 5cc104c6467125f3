import AttentionKernels
import Tensors

/// Where query rows stand among the keys: query `i` has position `i + offset`.
///
/// Causal masks and windows speak of positions. When `nQ == nKV` all but `.fixed` agree.
public enum QueryOffset: Sendable, Hashable {
  /// The first query stands at the first key: offset 0.
  case topLeft
  /// The last query stands at the last key: offset `nKV - nQ`, what a key/value cache needs. Where
  /// key lengths differ, the last key in use of each batch entry.
  case bottomRight
  /// Any offset, also negative.
  case fixed(Int)
  /// One offset a batch entry, for caches of unequal length.
  case perBatch([Int])
}

extension QueryOffset: CustomStringConvertible {
  public var description: String {
    switch self {
    case .topLeft: "top-left"
    case .bottomRight: "bottom-right"
    case .fixed(let offset): "\(offset)"
    case .perBatch(let offsets): "\(offsets)"
    }
  }
}
