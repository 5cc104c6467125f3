import Attention
import AttentionTestSupport
import Testing

/// Caches that share a pool of pages.
@Suite struct PagePoolTests {
  private static func rows(_ shape: CacheShape, _ count: Int) throws -> TestTensor {
    let tensor = try TestTensor(TensorShape(shape.batch, shape.kvHeads, count, shape.headDim))
    tensor.fill { entry, head, row, column in Float(entry + head + row + column) }
    return tensor
  }

  @Test func pagesAreSharedAndGivenBack() throws {
    let shape = try CacheShape(batch: 2, kvHeads: 1, headDim: 4)
    let pool = try PagePool(shape, pageCount: 5, pageRows: 4)
    let first = try PagedCache(shape, maximumLength: 100, pool: pool)
    var second: PagedCache? = try PagedCache(shape, maximumLength: 100, pool: pool)
    #expect(pool.freePages == 5)
    let five = try PagePoolTests.rows(shape, 5)
    try first.append(key: five.view, value: five.view, counts: [4, 0])
    #expect(pool.freePages == 4)
    try second?.append(key: five.view, value: five.view, counts: [5, 1])
    #expect(pool.freePages == 1)
    // One page for entry 0, one for entry 1: there is one.
    let error = #expect(throws: AttentionError.self) {
      try first.append(key: five.view, value: five.view, counts: [1, 1])
    }
    #expect(error?.kind == .capacityExhausted)
    #expect(error?.argument == "pool")
    #expect(first.lengths == [4, 0])
    #expect(pool.freePages == 1)
    try second?.truncate(entry: 0, to: 4)
    #expect(pool.freePages == 2)
    try first.append(key: five.view, value: five.view, counts: [1, 1])
    #expect(pool.freePages == 0)
    second = nil
    #expect(pool.freePages == 2)
    first.removeAll()
    #expect(pool.freePages == 5)
  }

  /// Rows of two caches that grow in turns do not get into each other's pages.
  @Test func interleavedCachesKeepTheirRows() throws {
    let shape = try CacheShape(batch: 2, kvHeads: 2, headDim: 3)
    let pool = try PagePool(shape, pageCount: 40, pageRows: 2)
    let caches = try (0..<3).map { _ in try PagedCache(shape, maximumLength: 12, pool: pool) }
    for token in 0..<12 {
      for (number, cache) in caches.enumerated() {
        let row = try TestTensor(TensorShape(2, 2, 1, 3))
        row.fill { entry, head, _, column in
          Float(1000 * number + 100 * token + 10 * entry + 3 * head + column)
        }
        try cache.append(key: row.view, value: row.view)
        if token == 5 { try cache.truncate(entry: 1, to: 5 - number) }
      }
    }
    for (number, cache) in caches.enumerated() {
      let views = cache.views(rows: 12)
      for entry in 0..<2 {
        for row in 0..<cache.lengths[entry] {
          let lost = entry == 1 ? number + 1 : 0
          let token = entry == 1 && row >= 5 - number ? row + lost : row
          for head in 0..<2 {
            let expected = (0..<3).map {
              Float(1000 * number + 100 * token + 10 * entry + 3 * head + $0)
            }
            #expect(cache.row(views.key, entry, head, row) == expected)
            #expect(cache.row(views.value, entry, head, row) == expected)
          }
        }
      }
    }
  }

  @Test func refusesAPoolOfOtherRows() throws {
    let pool = try PagePool(
      CacheShape(kvHeads: 2, headDim: 4), pageCount: 1, pageRows: 4)
    let error = #expect(throws: AttentionError.self) {
      try PagedCache(CacheShape(kvHeads: 2, headDim: 5), maximumLength: 4, pool: pool)
    }
    #expect(error?.argument == "pool")
  }
}
