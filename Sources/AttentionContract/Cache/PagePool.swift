import AttentionKernels
import Synchronization
import Tensors

/// Pages of key and value rows that several caches share.
///
/// A page holds `pageRows` rows of all key/value heads, keys `[hKV, pageRows, d]` in one block of
/// memory and values in another. Caches take pages as they grow and give them back as they shrink
/// or go away, so that memory is spent on tokens that exist (Kwon 2023, arXiv 2309.06180). Caches on
/// several threads may share a pool.
public final class PagePool: @unchecked Sendable {
  /// The sizes of what a page holds; the batch is 1.
  public let shape: CacheShape
  /// How rows are stored.
  public let elementType: ElementType
  public let pageRows: Int
  public let pageCount: Int
  let keys: AlignedFloats
  let values: AlignedFloats
  /// Pages that nobody has; the last one is taken first. Never grows beyond its first capacity.
  private let free: Mutex<[Int32]>

  /// A pool of `pageCount` pages of `pageRows` rows. The system backs its memory as rows arrive.
  ///
  /// - Throws: `AttentionError` when a size is out of range or memory is refused.
  public init(
    _ shape: CacheShape, pageCount: Int, pageRows: Int, elementType: ElementType = .float32
  ) throws(AttentionError) {
    for (name, size) in [("pageCount", pageCount), ("pageRows", pageRows)] where size < 1 {
      throw AttentionError(
        .invalidArgument, argument: name, value: size, advice: "must be at least 1")
    }
    let (rows, overflow) = pageCount.multipliedReportingOverflow(by: pageRows)
    let single = try CacheShape(
      kvHeads: shape.kvHeads, headDim: shape.headDim, valueDim: shape.valueDim)
    try single.check(rows: overflow ? Int.max : rows, "pageCount x pageRows")
    self.shape = single
    self.elementType = elementType
    self.pageRows = pageRows
    self.pageCount = pageCount
    keys = try AlignedFloats(
      bytes: rows * shape.kvHeads * elementType.rowBytes(columns: shape.headDim))
    values = try AlignedFloats(
      bytes: rows * shape.kvHeads * elementType.rowBytes(columns: shape.valueDim))
    free = Mutex((0..<Int32(pageCount)).reversed())
  }

  /// Pages that are not in use.
  public var freePages: Int { free.withLock { $0.count } }

  /// Bytes of keys and values, used or not.
  public var bytes: Int { 4 * (keys.count + values.count) }

  /// Takes `count` pages; false, and none, when there are not as many.
  func reserve(_ count: Int, _ place: (_ index: Int, _ page: Int32) -> Void) -> Bool {
    free.withLock { free in
      if free.count < count { return false }
      for index in 0..<count { place(index, free.removeLast()) }
      return true
    }
  }

  /// Takes back pages.
  func giveBack(_ pages: UnsafeBufferPointer<Int32>) {
    free.withLock { free in
      for page in pages.reversed() { free.append(page) }
    }
  }
}
