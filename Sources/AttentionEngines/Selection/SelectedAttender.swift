import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// Query rows of a head that share a selection.
struct SelectedGroup {
  let batch: Int
  let head: Int
  let kvHead: Int
  let group: BlockSelection.Group
  let geometry: MaskGeometry

  /// The first key that a row does not see.
  func end(of row: Int) -> Int { geometry.visible(from: row + geometry.offset).upperBound }
}

/// Softmax of a group of rows over keys as they come.
protocol SelectedAttender: AnyObject {
  /// Where it finds keys, up to `ATTN_BLOCK_KEYS` of them.
  var tables: KeyValueRows { get }
  /// Whether it works off what it is to prefetch.
  var prefetches: Bool { get }
  /// Reads the queries; nothing has been seen.
  func begin(_ rows: SelectedGroup, _ operands: AttentionOperands)
  /// Meets the keys at the first places of its tables, which are used up.
  ///
  /// - Parameter first: the key of the first place where keys follow each other and rows see them up to a
  ///   limit of their own; nil where all rows see all of them.
  func meet(
    _ count: Int, first: Int?, _ rows: SelectedGroup, _ operands: AttentionOperands,
    prefetch: UnsafeMutablePointer<attn_prefetch_list>)
  /// Stores outputs and LSE.
  func finish(_ rows: SelectedGroup, _ operands: AttentionOperands)
}
