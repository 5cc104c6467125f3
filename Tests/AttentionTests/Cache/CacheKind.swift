import Attention
import AttentionTestSupport

/// A cache under test, made for a shape and an element type.
enum CacheKind: String, CaseIterable, Sendable {
  case contiguous
  /// One row at first, grown as rows arrive.
  case growing
  case paged
  case rolling

  static let keepingEverything: [CacheKind] = [.contiguous, .growing, .paged]

  /// Rows of a page, sinks and window.
  static let pageRows = 7
  static let sinks = 3
  static let window = 11

  func make(
    _ shape: CacheShape, capacity: Int, _ elementType: ElementType, scales: ChannelScales? = nil
  ) throws -> any KeyValueCache {
    switch self {
    case .contiguous:
      return try ContiguousCache(
        shape, capacity: capacity, elementType: elementType, channelScales: scales)
    case .growing:
      return try ContiguousCache(
        shape, capacity: 1, elementType: elementType, channelScales: scales)
    case .paged:
      let perEntry = (capacity + CacheKind.pageRows - 1) / CacheKind.pageRows
      let pool = try PagePool(
        shape, pageCount: shape.batch * perEntry, pageRows: CacheKind.pageRows,
        elementType: elementType)
      return try PagedCache(
        shape, maximumLength: capacity, pool: pool, channelScales: scales)
    case .rolling:
      return try RollingCache(
        shape, sinks: CacheKind.sinks, window: CacheKind.window, elementType: elementType,
        channelScales: scales)
    }
  }
}

extension KeyValueCache {
  /// A held row as fp32.
  func row(_ view: TensorView, _ entry: Int, _ head: Int, _ row: Int) -> [Float] {
    var floats = [Float](repeating: .nan, count: view.shape.columns)
    floats.withUnsafeMutableBufferPointer { floats in
      guard let base = floats.baseAddress else { return }
      RowFormat(elementType, columns: view.shape.columns).load(
        view.rowAddress(entry, head, row), scales: view.channelScales(entry, head), into: base)
    }
    return floats
  }

  /// Fills an empty cache's memory with bytes of ones: NaN in every floating-point format, and in
  /// the scale of a token.
  func poison() throws {
    let (key, value) = try (
      TestTensor(TensorShape(shape.batch, shape.kvHeads, capacity, shape.headDim)),
      TestTensor(TensorShape(shape.batch, shape.kvHeads, capacity, shape.valueDim))
    )
    for tensor in [key, value] { tensor.fill { _, _, _, _ in 1 } }
    try append(key: key.view, value: value.view)
    let views = self.views(rows: capacity)
    for view in [views.key, views.value] {
      for entry in 0..<shape.batch {
        for head in 0..<shape.kvHeads {
          for row in 0..<capacity {
            UnsafeMutableRawBufferPointer(
              start: UnsafeMutableRawPointer(mutating: view.rowAddress(entry, head, row)),
              count: elementType.rowBytes(columns: view.shape.columns)
            ).initializeMemory(as: UInt8.self, repeating: 0xFF)
          }
        }
      }
    }
    removeAll()
  }
}
