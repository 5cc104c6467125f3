import Attention

/// How the rows of a stored test tensor lie in memory.
public enum TestPlacement: Sendable {
  /// A batch stride and a row stride.
  case strided(TestLayout)
  /// Pages of some rows in any order. Table entries of pages that hold only rows from
  /// `usedRows[batch]` on point nowhere.
  case paged(rows: Int, usedRows: [Int])
}

/// A tensor of any element type that owns its memory: the elements of a test tensor, rounded.
///
/// Every byte that belongs to no row is 0xFF, which is a NaN in every floating-point type.
public final class StoredTensor: @unchecked Sendable {
  /// `[batch, heads, rows, columns]`.
  public let shape: TensorShape
  /// How elements are stored.
  public let elementType: ElementType
  private let strides: (batch: Int, head: Int, row: Int)
  private let memory: UnsafeMutableRawBufferPointer
  private let table: UnsafeMutableBufferPointer<Int32>
  private let pages: (perEntry: Int, rows: Int, stride: Int)?
  private let scales: UnsafeMutableBufferPointer<Float>
  private static let guardBytes = 256

  /// A tensor of 0xFF bytes.
  public init(
    _ shape: TensorShape, _ elementType: ElementType,
    placement: TestPlacement = .strided(.bhnd), seed: Int = 0
  ) {
    self.shape = shape
    self.elementType = elementType
    let row = elementType.rowBytes(columns: shape.columns) / elementType.byteCount
    var used: Int
    switch placement {
    case .strided(let layout):
      switch layout {
      case .bhnd: strides = (shape.heads * shape.rows * row, shape.rows * row, row)
      case .bnhd: strides = (shape.rows * shape.heads * row, row, shape.heads * row)
      case .padded:
        let head = shape.rows * (row + 3) + 5
        strides = (shape.heads * head + 7, head, row + 3)
      case .paddedInterleaved:
        let head = row + 1
        let next = shape.heads * head + 2
        strides = (shape.rows * next + 9, head, next)
      }
      used = shape.batch * strides.batch + shape.heads * strides.head + shape.rows * strides.row
      table = .allocate(capacity: 0)
      pages = nil
    case .paged(let rows, let usedRows):
      let perEntry = (shape.rows + rows - 1) / rows
      strides = (0, rows * row, row)
      let stride = shape.heads * rows * row + 5
      used = shape.batch * perEntry * stride
      pages = (perEntry, rows, stride)
      var generator = TestGenerator(seed: seed)
      let order = (0..<shape.batch * perEntry).shuffled(using: &generator)
      table = .allocate(capacity: order.count)
      _ = table.initialize(
        from: order.enumerated().map { place, page in
          place % perEntry * rows < usedRows[place / perEntry] ? Int32(page) : 1 << 28
        })
    }
    used = used * elementType.byteCount + 2 * StoredTensor.guardBytes
    memory = .allocate(byteCount: used, alignment: 64)
    memory.initializeMemory(as: UInt8.self, repeating: 0xFF)
    scales = .allocate(
      capacity: elementType == .int8PerChannel ? shape.batch * shape.heads * shape.columns : 0)
    scales.initialize(repeating: .nan)
  }

  /// The elements of a tensor, rounded to nearest, ties to even; integers with the scales that bring
  /// the largest element of a row or a column to 127.
  public convenience init(
    _ values: TestTensor, _ elementType: ElementType,
    placement: TestPlacement = .strided(.bhnd), seed: Int = 0
  ) {
    self.init(values.shape, elementType, placement: placement, seed: seed)
    if elementType == .int8PerChannel { chooseScales(values) }
    values.forEachRow { batch, head, row in
      if let address = place(batch, head, row) {
        store(values[batch, head, row], at: address, batch, head)
      }
    }
  }

  deinit {
    memory.deallocate()
    table.deallocate()
    scales.deallocate()
  }

  private var base: UnsafeMutableRawPointer {
    guard let start = memory.baseAddress else { fatalError("an empty test tensor") }
    // Off the allocation's alignment by an element: kernels must not assume any.
    return start + StoredTensor.guardBytes + elementType.byteCount
  }

  /// Where a row lies; nil where its page points nowhere.
  private func place(_ batch: Int, _ head: Int, _ row: Int) -> UnsafeMutableRawPointer? {
    var offset = batch * strides.batch + head * strides.head + row * strides.row
    if let pages {
      let page = Int(table[batch * pages.perEntry + row / pages.rows])
      if page == 1 << 28 { return nil }
      offset = page * pages.stride + head * strides.head + row % pages.rows * strides.row
    }
    return base + offset * elementType.byteCount
  }

  private func scaleIndex(_ batch: Int, _ head: Int, _ column: Int) -> Int {
    (batch * shape.heads + head) * shape.columns + column
  }

  private func chooseScales(_ values: TestTensor) {
    for index in scales.indices {
      let (head, column) = index.quotientAndRemainder(dividingBy: shape.columns)
      let largest = (0..<shape.rows).reduce(Float(0)) {
        let value = abs(values[head / shape.heads, head % shape.heads, $1, column])
        return value.isFinite ? max($0, value) : $0
      }
      scales[index] = largest / 127
    }
  }

  private func store(
    _ row: UnsafeMutableBufferPointer<Float>, at address: UnsafeMutableRawPointer, _ batch: Int,
    _ head: Int
  ) {
    let largest = row.reduce(Float(0)) { max($0, abs($1)) }
    if elementType == .int8PerToken {
      (address + (shape.columns + 3) / 4 * 4).store(largest / 127)
    }
    for (column, value) in row.enumerated() {
      switch elementType {
      case .float32: (address + 4 * column).store(value)
      case .float16: (address + 2 * column).store(StoredTensor.half(value))
      case .bfloat16: (address + 2 * column).store(StoredTensor.brain(value))
      case .int8PerToken: (address + column).store(integer(value, largest / 127))
      case .int8PerChannel:
        let scale = scales[scaleIndex(batch, head, column)]
        (address + column).store(integer(value, scale))
      }
    }
  }

  private func integer(_ value: Float, _ scale: Float) -> Int8 {
    scale == 0 || !value.isFinite ? 0 : Int8((value / scale).rounded(.toNearestOrEven))
  }

  /// The nearest fp16, as a pattern.
  public static func half(_ value: Float) -> UInt16 { Float16(value).bitPattern }

  /// The nearest bf16, ties to even, as a pattern: whichever neighbour is nearer.
  public static func brain(_ value: Float) -> UInt16 {
    let lower = UInt16(value.bitPattern >> 16)
    if value.isNaN { return lower | 0x40 }
    if value.isInfinite { return lower }
    let exact = Double(value.magnitude)
    let below = Double(Float(bitPattern: UInt32(lower & 0x7FFF) << 16))
    // The last step goes to 2^128, which only a double can hold.
    let next = Float(bitPattern: (UInt32(lower & 0x7FFF) + 1) << 16)
    let above = next.isInfinite ? 0x1p128 : Double(next)
    let isUp =
      exact - below > above - exact || (exact - below == above - exact && lower % 2 == 1)
    return isUp ? lower + 1 : lower
  }

  /// One element in fp32. Rows on pages that point nowhere are NaN.
  public func element(_ batch: Int, _ head: Int, _ row: Int, _ column: Int) -> Float {
    guard let address = place(batch, head, row) else { return .nan }
    switch elementType {
    case .float32: return (address + 4 * column).loadUnaligned(as: Float.self)
    case .float16:
      return Float(Float16(bitPattern: (address + 2 * column).loadUnaligned(as: UInt16.self)))
    case .bfloat16:
      let pattern = (address + 2 * column).loadUnaligned(as: UInt16.self)
      return Float(bitPattern: UInt32(pattern) << 16)
    case .int8PerToken:
      let scale = (address + (shape.columns + 3) / 4 * 4).loadUnaligned(as: Float.self)
      return Float((address + column).load(as: Int8.self)) * scale
    case .int8PerChannel:
      return Float((address + column).load(as: Int8.self))
        * scales[scaleIndex(batch, head, column)]
    }
  }

  /// The elements in fp32.
  public func widened(layout: TestLayout = .bhnd) -> TestTensor {
    let tensor = TestTensor(shape, layout: layout)
    tensor.fill(element)
    return tensor
  }

  /// The patterns of all 16-bit elements, in the order of the indices.
  public var patterns: [UInt16] {
    var patterns: [UInt16] = []
    for batch in 0..<shape.batch {
      for head in 0..<shape.heads {
        for row in 0..<shape.rows {
          guard let address = place(batch, head, row) else { continue }
          for column in 0..<shape.columns {
            patterns.append((address + 2 * column).loadUnaligned(as: UInt16.self))
          }
        }
      }
    }
    return patterns
  }

  /// Whether no byte that belongs to no row was written; rows themselves must hold no 0xFF bytes but
  /// those that are counted alike.
  public var hasIntactPadding: Bool {
    let rowBytes = elementType.rowBytes(columns: shape.columns)
    var untouched = memory.lazy.filter { $0 == 0xFF }.count
    var used = 0
    for batch in 0..<shape.batch {
      for head in 0..<shape.heads {
        for row in 0..<shape.rows {
          guard let address = place(batch, head, row) else { continue }
          let bytes = UnsafeRawBufferPointer(start: address, count: rowBytes)
          untouched -= bytes.lazy.filter { $0 == 0xFF }.count
          used += rowBytes
        }
      }
    }
    return untouched == memory.count - used
  }

  /// A read-only view.
  public var view: TensorView {
    do {
      return try TensorView(
        base, elementType, shape: shape, strides: strides, placement: placement,
        channelScales: elementType == .int8PerChannel ? scales.baseAddress.map { .init($0) } : nil)
    } catch {
      fatalError("a test tensor has strides that the library refuses: \(error)")
    }
  }

  /// A writable view.
  public var mutableView: MutableTensorView {
    do {
      return try MutableTensorView(
        base, elementType, shape: shape, strides: strides, placement: placement)
    } catch {
      fatalError("a test tensor has strides that the library refuses: \(error)")
    }
  }

  private var placement: RowPlacement {
    guard let pages, let start = table.baseAddress else { return .strided }
    return .paged(
      table: UnsafePointer(start), pagesPerEntry: pages.perEntry, pageRows: pages.rows,
      pageStride: pages.stride)
  }
}

extension UnsafeMutableRawPointer {
  /// Stores a value at any alignment.
  fileprivate func store<T: BitwiseCopyable>(_ value: T) { storeBytes(of: value, as: T.self) }
}
