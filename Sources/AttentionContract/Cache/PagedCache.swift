import AttentionKernels
import Tensors

/// Keys and values in pages of a pool, found through a table of pages for each batch entry.
///
/// Entries of very unequal length waste less than a page each. Appending writes in place and takes
/// a page from the pool where the last one is full; truncating gives pages back.
///
/// Kwon 2023, arXiv 2309.06180.
public final class PagedCache: KeyValueCache {
  /// Where the pages come from.
  public let pool: PagePool
  /// Rows that an entry can have at most: what the tables have places for.
  public let maximumLength: Int
  private let rows: CacheRows
  public private(set) var lengths: [Int]
  public private(set) var truncations = 0
  private let pagesPerEntry: Int
  /// `[b][pagesPerEntry]` pages; those beyond an entry's rows mean nothing.
  private let table: UnsafeMutablePointer<Int32>

  /// A cache without rows, and so without pages.
  ///
  /// - Parameters:
  ///   - maximumLength: rows that an entry can have at most; a table place of four bytes is held
  ///     for every page of them.
  ///   - channelScales: for `int8PerChannel`; left out, they are measured from the rows that an
  ///     empty entry takes in first.
  /// - Throws: `AttentionError` when a size is out of range, the pool's pages hold something else,
  ///   scales do not fit, or memory is refused.
  public init(
    _ shape: CacheShape, maximumLength: Int, pool: PagePool, channelScales: ChannelScales? = nil
  ) throws(AttentionError) {
    try shape.check(rows: maximumLength, "maximumLength")
    let page = pool.shape
    if page.kvHeads != shape.kvHeads || page.headDim != shape.headDim
      || page.valueDim != shape.valueDim
    {
      throw AttentionError(
        .shapeMismatch, argument: "pool",
        value: "\(page.kvHeads) heads of \(page.headDim) and \(page.valueDim) columns",
        advice: "the cache has \(shape.kvHeads) heads of \(shape.headDim) and \(shape.valueDim); "
          + "caches of one pool hold rows of one shape")
    }
    self.pool = pool
    self.maximumLength = maximumLength
    rows = try CacheRows(shape, pool.elementType, scales: channelScales)
    lengths = Array(repeating: 0, count: shape.batch)
    pagesPerEntry = (maximumLength + pool.pageRows - 1) / pool.pageRows
    table = .allocate(capacity: shape.batch * pagesPerEntry)
    table.initialize(repeating: 0, count: shape.batch * pagesPerEntry)
  }

  deinit {
    for entry in 0..<shape.batch { giveBack(entry: entry, keeping: 0) }
    table.deallocate()
  }

  public var shape: CacheShape { rows.shape }
  public var elementType: ElementType { rows.elementType }
  public var tokens: [Int] { lengths }
  public var capacity: Int { maximumLength }
  public var keepsPositions: Bool { true }

  /// Bytes of the pages in use, scales and tables.
  public var bytes: Int {
    let pages = lengths.reduce(0) { $0 + pageCount($1) }
    return pages * pool.pageRows * shape.bytesPerToken(elementType) + rows.bytes
      + 4 * shape.batch * pagesPerEntry
  }

  /// Pages that hold `rows` rows.
  private func pageCount(_ rows: Int) -> Int { (rows + pool.pageRows - 1) / pool.pageRows }

  public func append(
    key: TensorView, value: TensorView, counts: [Int]?
  ) throws(AttentionError) {
    try rows.check(key, value, counts: counts)
    try takePages(counts: counts, rows: key.shape.rows)
    let views = views(rows: maximumLength)
    for entry in 0..<shape.batch {
      let count = counts?[entry] ?? key.shape.rows
      if lengths[entry] == 0 { rows.calibrate(entry: entry, key, value, count: count) }
      for row in 0..<count {
        rows.store(key, value, entry: entry, row: row, in: views, slot: lengths[entry] + row)
      }
      lengths[entry] += count
    }
  }

  /// Puts the pages that new rows need into the tables, all at once or none.
  private func takePages(counts: [Int]?, rows: Int) throws(AttentionError) {
    var missing = 0
    for entry in 0..<shape.batch {
      let needed = lengths[entry] + (counts?[entry] ?? rows)
      if needed > maximumLength {
        throw AttentionError(
          .capacityExhausted, argument: "maximumLength", value: maximumLength,
          advice: "entry \(entry) would need \(needed) rows; make the cache with a larger "
            + "maximumLength, or truncate the entry")
      }
      missing += pageCount(needed) - pageCount(lengths[entry])
    }
    if missing == 0 { return }
    var entry = 0
    var place = pageCount(lengths[0])
    let isServed = pool.reserve(missing) { _, page in
      while place == pageCount(lengths[entry] + (counts?[entry] ?? rows)) {
        entry += 1
        place = pageCount(lengths[entry])
      }
      table[entry * pagesPerEntry + place] = page
      place += 1
    }
    if !isServed {
      throw AttentionError(
        .capacityExhausted, argument: "pool", value: "\(pool.freePages) free pages",
        advice: "\(missing) of \(pool.pageRows) rows are needed; truncate or release caches that "
          + "share the pool, or make it with more than \(pool.pageCount) pages")
    }
  }

  public func length(entry: Int, adding count: Int) -> Int { lengths[entry] + count }

  public func views(rows count: Int) -> (key: TensorView, value: TensorView) {
    let (keyRow, valueRow) = (rows.key.stride, rows.value.stride)
    let scales = rows.scales
    return (
      TensorView(
        unchecked: pool.keys.base, elementType, shape: shape.key(rows: count),
        strides: (0, pool.pageRows * keyRow, keyRow), placement: placement(keyRow),
        channelScales: scales.key, owner: self),
      TensorView(
        unchecked: pool.values.base, elementType, shape: shape.value(rows: count),
        strides: (0, pool.pageRows * valueRow, valueRow), placement: placement(valueRow),
        channelScales: scales.value, owner: self)
    )
  }

  private func placement(_ rowStride: Int) -> RowPlacement {
    .paged(
      table: UnsafePointer(table), pagesPerEntry: pagesPerEntry, pageRows: pool.pageRows,
      pageStride: shape.kvHeads * pool.pageRows * rowStride)
  }

  public func truncate(entry: Int, to count: Int) throws(AttentionError) {
    try checkTruncation(entry: entry, to: count)
    giveBack(entry: entry, keeping: pageCount(count))
    lengths[entry] = count
    truncations += 1
  }

  private func giveBack(entry: Int, keeping kept: Int) {
    let first = table + entry * pagesPerEntry + kept
    pool.giveBack(
      UnsafeBufferPointer(start: first, count: pageCount(lengths[entry]) - kept))
  }
}
