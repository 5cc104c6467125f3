import Attention
import AttentionTestSupport
import Testing

/// The error of an 8-bit element is at most half a step and a few roundings, whatever the numbers.
@Suite struct QuantisationTests {
  /// Magnitudes from the smallest to the largest there are.
  private static let magnitudes: [Float] = [
    Float.leastNonzeroMagnitude, 0x1p-140, 0x1p-127, 1e-30, 1e-3, 1, 127, 1e4, 1e30,
    Float.greatestFiniteMagnitude / 4,
  ]

  @Test(arguments: magnitudes)
  func everyElementIsWithinHalfAStep(_ magnitude: Float) throws {
    let columns = 64
    let cache = try ContiguousCache(
      CacheShape(kvHeads: 1, headDim: columns), capacity: 40, elementType: .int8PerToken)
    var generator = TestGenerator(seed: 1)
    let rows = try TestTensor(TensorShape(1, 1, 40, columns))
    rows.fill { _, _, _, _ in (2 * generator.uniform() - 1) * magnitude }
    try cache.append(key: rows.view, value: rows.view)
    let view = cache.views(rows: 40).key
    for row in 0..<40 {
      let largest = rows[0, 0, row].lazy.map(abs).max() ?? 0
      let step = max(Double(largest) / 127, Double(Float.leastNormalMagnitude))
      for (x, y) in zip(cache.row(view, 0, 0, row), rows[0, 0, row]) {
        #expect(abs(Double(x) - Double(y)) <= (0.5 + 0x1p-15) * step)
      }
    }
  }

  /// The integers themselves: x / scale to nearest, ties to even, never -128.
  @Test func tiesGoToEven() throws {
    let cache = try ContiguousCache(
      CacheShape(kvHeads: 1, headDim: 8), capacity: 1, elementType: .int8PerToken)
    let row = try TestTensor(TensorShape(1, 1, 1, 8))
    // A largest magnitude of 127 makes the scale 1.
    let elements: [Float] = [-127, 0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 0]
    row.fill { _, _, _, column in elements[column] }
    try cache.append(key: row.view, value: row.view)
    let stored = cache.views(rows: 1).key.rowAddress(0, 0, 0).assumingMemoryBound(to: Int8.self)
    #expect((0..<8).map { stored[$0] } == [-127, 0, 2, 2, 0, -2, 126, 0])
  }

  /// Measured channel scales bring the largest element of each column to 127 and stay; what comes
  /// later and is larger is clamped. An entry that is emptied is measured anew.
  @Test func channelScalesComeFromTheFirstRows() throws {
    let cache = try ContiguousCache(
      CacheShape(batch: 2, kvHeads: 1, headDim: 3), capacity: 4, elementType: .int8PerChannel)
    let first = try TestTensor(TensorShape(2, 1, 2, 3))
    first.fill { entry, _, row, column in
      column == 2 ? 0 : Float(1 + row) * Float(1 + column) * (entry == 0 ? 1 : -10)
    }
    try cache.append(key: first.view, value: first.view)
    let view = cache.views(rows: 4).key
    #expect(cache.row(view, 0, 0, 1) == [2, 4, 0])
    #expect(cache.row(view, 1, 0, 1) == [-20, -40, 0])
    let later = try TestTensor(TensorShape(2, 1, 1, 3))
    later.fill { _, _, _, column in [100, 3, 3][column] }
    try cache.append(key: later.view, value: later.view)
    let row = cache.row(view, 0, 0, 2)
    #expect(row[0] == 2, "clamped to the largest of the first rows")
    // A column that was 0 takes the head's largest step, 4 / 127.
    #expect(abs(row[1] - 3) <= 0.51 * 4 / 127)
    #expect(abs(row[2] - 3) <= 0.51 * 4 / 127)
    cache.removeAll()
    try cache.append(key: later.view, value: later.view)
    #expect(cache.row(view, 0, 0, 0) == [100, 3, 3])
  }

  /// Bytes of a token as the guide states them.
  @Test func bytesOfAToken() throws {
    let shape = try CacheShape(kvHeads: 8, headDim: 128)
    let bytes = ElementType.allCases.map { shape.bytesPerToken($0) }
    #expect(bytes == [8192, 4096, 4096, 2112, 2048])
  }
}
