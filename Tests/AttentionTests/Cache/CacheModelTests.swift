import Attention
import AttentionTestSupport
import Testing

/// Every cache against plain arrays, over random sequences of operations.
@Suite struct CacheModelTests {
  /// What a cache should hold: all tokens, as fp32 rows after the source format's rounding.
  private struct Model {
    /// `[entry][token][head]`.
    var keys: [[[[Float]]]]
    var values: [[[[Float]]]]

    init(_ batch: Int) {
      keys = Array(repeating: [], count: batch)
      values = keys
    }
  }

  private static let shapes = [(1, 1, 1, 1), (2, 3, 5, 8), (3, 2, 16, 7)]

  @Test(arguments: CacheKind.allCases, ElementType.allCases)
  func holdsWhatAnArrayHolds(_ kind: CacheKind, _ elementType: ElementType) throws {
    for (number, (batch, heads, headDim, valueDim)) in CacheModelTests.shapes.enumerated() {
      var generator = TestGenerator(seed: 100 + number)
      let shape = try CacheShape(
        batch: batch, kvHeads: heads, headDim: headDim, valueDim: valueDim)
      let limit = 60
      // Columns of unlike magnitude, all of them within 4 x 127 x 2^-5 = 15.9.
      let scales = ChannelScales(
        key: (0..<heads * headDim).map { 0.125 / Float(1 + $0 % 3) },
        value: (0..<heads * valueDim).map { 0.125 / Float(1 + $0 % 2) })
      let given = elementType == .int8PerChannel
      let cache = try kind.make(
        shape, capacity: limit, elementType, scales: given ? scales : nil)
      try cache.poison()
      var model = Model(batch)
      for _ in 0..<60 {
        try operate(cache, &model, limit: limit, &generator)
        check(cache, model, scales)
      }
    }
  }

  private func operate(
    _ cache: any KeyValueCache, _ model: inout Model, limit: Int,
    _ generator: inout TestGenerator
  ) throws {
    let shape = cache.shape
    switch generator.pick(0..<8) {
    case 0:
      let entry = generator.pick(0..<shape.batch)
      let count = generator.pick(0...cache.tokens[entry])
      let isPossible =
        cache.keepsPositions || cache.tokens[entry] <= cache.capacity || count == 0
        || count == cache.tokens[entry]
      if isPossible {
        try cache.truncate(entry: entry, to: count)
        model.keys[entry].removeSubrange(count...)
        model.values[entry].removeSubrange(count...)
      } else {
        #expect(throws: AttentionError.self) { try cache.truncate(entry: entry, to: count) }
      }
    case 1 where generator.pick(0..<4) == 0:
      cache.removeAll()
      model = Model(shape.batch)
    default:
      try append(cache, &model, limit: limit, &generator)
    }
  }

  private func append(
    _ cache: any KeyValueCache, _ model: inout Model, limit: Int,
    _ generator: inout TestGenerator
  ) throws {
    let shape = cache.shape
    let rows = generator.pick([1, 1, 2, 5, 19])
    let counts =
      generator.pick(0..<3) == 0 ? (0..<shape.batch).map { _ in generator.pick(0...rows) } : nil
    let key = try TestTensor(TensorShape(shape.batch, shape.kvHeads, rows, shape.headDim))
    let value = try TestTensor(TensorShape(shape.batch, shape.kvHeads, rows, shape.valueDim))
    for tensor in [key, value] {
      tensor.fill { _, _, _, _ in 2 * generator.normal() }
    }
    let source = generator.pick([ElementType.float32, .float16, .bfloat16])
    let (newKey, newValue) = (
      StoredTensor(key, source, placement: .strided(.paddedInterleaved)),
      StoredTensor(value, source, placement: .strided(.bnhd))
    )
    let needed = (0..<shape.batch).map { cache.tokens[$0] + (counts?[$0] ?? rows) }
    if cache.keepsPositions, let most = needed.max(), most > limit {
      if cache.capacity == limit {
        let before = cache.lengths
        let error = #expect(throws: AttentionError.self) {
          try cache.append(key: newKey.view, value: newValue.view, counts: counts)
        }
        #expect(error?.kind == .capacityExhausted)
        #expect(cache.lengths == before)
      }
      return
    }
    if let cache = cache as? ContiguousCache, let most = needed.max() {
      try cache.reserve(most)
    }
    try cache.append(key: newKey.view, value: newValue.view, counts: counts)
    for entry in 0..<shape.batch {
      for row in 0..<(counts?[entry] ?? rows) {
        model.keys[entry].append(
          (0..<shape.kvHeads).map { key[entry, $0, row].map { rounded($0, to: source) } })
        model.values[entry].append(
          (0..<shape.kvHeads).map { value[entry, $0, row].map { rounded($0, to: source) } })
      }
    }
  }

  private func check(_ cache: any KeyValueCache, _ model: Model, _ scales: ChannelScales) {
    let shape = cache.shape
    let views = cache.views(rows: cache.capacity)
    for entry in 0..<shape.batch {
      let count = model.keys[entry].count
      #expect(cache.tokens[entry] == count)
      let held = heldTokens(cache, count)
      #expect(cache.lengths[entry] == held.count)
      let positions = (0..<cache.lengths[entry]).map {
        (cache as? RollingCache)?.position(entry: entry, row: $0) ?? $0
      }
      #expect(positions.sorted() == held)
      for (row, token) in positions.enumerated() where held.contains(token) {
        for head in 0..<shape.kvHeads {
          expectRow(
            cache.row(views.key, entry, head, row), model.keys[entry][token][head],
            cache.elementType, Array(scales.key[(head * shape.headDim)...].prefix(shape.headDim)))
          expectRow(
            cache.row(views.value, entry, head, row), model.values[entry][token][head],
            cache.elementType,
            Array(scales.value[(head * shape.valueDim)...].prefix(shape.valueDim)))
        }
      }
    }
  }

  /// The first tokens and the newest.
  private func heldTokens(_ cache: any KeyValueCache, _ count: Int) -> [Int] {
    (0..<count).filter {
      cache.keepsPositions || $0 < CacheKind.sinks || $0 >= count - CacheKind.window
    }
  }

  private func expectRow(
    _ row: [Float], _ expected: [Float], _ elementType: ElementType, _ scales: [Float]
  ) {
    switch elementType {
    case .float32, .float16, .bfloat16:
      #expect(row == expected.map { rounded($0, to: elementType) })
    case .int8PerToken:
      let step = Double(expected.map(abs).max() ?? 0) / 127
      for (x, y) in zip(row, expected) {
        #expect(abs(Double(x) - Double(y)) <= (0.5 + 0x1p-15) * step)
      }
    case .int8PerChannel:
      for ((x, y), scale) in zip(zip(row, expected), scales) {
        let clamped = max(-127 * Double(scale), min(127 * Double(scale), Double(y)))
        #expect(abs(Double(x) - clamped) <= (0.5 + 0x1p-15) * Double(scale))
      }
    }
  }

  private func rounded(_ x: Float, to type: ElementType) -> Float {
    switch type {
    case .float16:
      return Float(Float16(x))
    case .bfloat16:
      return Float(bitPattern: UInt32(StoredTensor.brain(x)) << 16)
    default:
      return x
    }
  }
}
