import AttentionContract
import AttentionKernels
import Tensors

/// A piece of a pass for one worker: some consecutive panels of one class of rows of one
/// key/value head.
struct PanelTask: Sendable {
  /// Batch entry.
  let batch: Int
  /// Key/value head; the task covers all query heads that share it.
  let kvHead: Int
  /// First query row of the class, which also is the class's number.
  let firstRow: Int
  /// First panel of the class, and how many.
  let panels: Range<Int>
  /// Query rows of the class times query heads that share the key/value head.
  let lanes: Int
  /// Key places visited, for sorting.
  let cost: Int
}
