import Attention

/// How a test tensor lies in memory.
public enum TestLayout: String, Sendable, CaseIterable {
  /// `[b, h, n, d]`, dense.
  case bhnd
  /// `[b, n, h, d]`, dense.
  case bnhd
  /// `[b, h, n, d]` with unused elements after every row, head and batch entry.
  case padded
  /// `[b, n, h, d]` with unused elements after every head and row.
  case paddedInterleaved
}

/// A tensor that owns its memory, of any layout. Every element that belongs to no row is NaN: a
/// read beyond a row shows in the result, and `hasIntactPadding` shows a write.
public final class TestTensor: @unchecked Sendable {
  /// `[batch, heads, rows, columns]`.
  public let shape: TensorShape
  private let strides: (batch: Int, head: Int, row: Int)
  private let memory: UnsafeMutableBufferPointer<Float>
  private static let guardCount = 64

  /// A tensor of NaNs.
  ///
  /// The rows start one float off the allocation's alignment: kernels must not assume any.
  public init(_ shape: TensorShape, layout: TestLayout = .bhnd) {
    self.shape = shape
    switch layout {
    case .bhnd:
      let head = shape.rows * shape.columns
      strides = (shape.heads * head, head, shape.columns)
    case .bnhd:
      let row = shape.heads * shape.columns
      strides = (shape.rows * row, shape.columns, row)
    case .padded:
      let row = shape.columns + 3
      let head = shape.rows * row + 5
      strides = (shape.heads * head + 7, head, row)
    case .paddedInterleaved:
      let head = shape.columns + 1
      let row = shape.heads * head + 2
      strides = (shape.rows * row + 9, head, row)
    }
    let last = (shape.batch - 1) * strides.batch + (shape.heads - 1) * strides.head
    let used = last + (shape.rows - 1) * strides.row + shape.columns
    memory = .allocate(capacity: used + 2 * TestTensor.guardCount + 1)
    memory.initialize(repeating: .nan)
  }

  deinit { memory.deallocate() }

  private var base: UnsafeMutablePointer<Float> {
    guard let start = memory.baseAddress else { fatalError("an empty test tensor") }
    return start + (TestTensor.guardCount + 1)
  }

  private func place(_ batch: Int, _ head: Int, _ row: Int, _ column: Int) -> Int {
    batch * strides.batch + head * strides.head + row * strides.row + column
  }

  public subscript(batch: Int, head: Int, row: Int, column: Int) -> Float {
    get { base[place(batch, head, row, column)] }
    set { base[place(batch, head, row, column)] = newValue }
  }

  public subscript(batch: Int, head: Int, row: Int) -> UnsafeMutableBufferPointer<Float> {
    UnsafeMutableBufferPointer(start: base + place(batch, head, row, 0), count: shape.columns)
  }

  /// Calls `body` with the indices of every row.
  public func forEachRow(_ body: (_ batch: Int, _ head: Int, _ row: Int) -> Void) {
    for batch in 0..<shape.batch {
      for head in 0..<shape.heads { for row in 0..<shape.rows { body(batch, head, row) } }
    }
  }

  /// Sets every element, in the order of the indices.
  public func fill(_ value: (_ batch: Int, _ head: Int, _ row: Int, _ column: Int) -> Float) {
    forEachRow { batch, head, row in
      for column in 0..<shape.columns {
        self[batch, head, row, column] = value(batch, head, row, column)
      }
    }
  }

  /// A tensor of the same layout and elements.
  public func copy() -> TestTensor { TestTensor(copying: self) }

  private init(copying other: TestTensor) {
    shape = other.shape
    strides = other.strides
    memory = .allocate(capacity: other.memory.count)
    _ = memory.initialize(from: other.memory)
  }

  /// The elements' bits, in the order of the indices.
  public var bits: [UInt32] {
    var bits: [UInt32] = []
    bits.reserveCapacity(shape.count)
    forEachRow { bits.append(contentsOf: self[$0, $1, $2].lazy.map(\.bitPattern)) }
    return bits
  }

  /// Whether every element that belongs to no row still is NaN.
  public var hasIntactPadding: Bool {
    var nans = memory.lazy.filter(\.isNaN).count
    forEachRow { nans -= self[$0, $1, $2].lazy.filter(\.isNaN).count }
    return nans == memory.count - shape.count
  }

  public var view: TensorView { mutableView.reading }

  public var mutableView: MutableTensorView {
    do {
      return try MutableTensorView(base, shape: shape, strides: strides)
    } catch {
      fatalError("a test tensor has strides that the library refuses: \(error)")
    }
  }
}
