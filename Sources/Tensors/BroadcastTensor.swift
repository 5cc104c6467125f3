/// A tensor that stands for one of shape `[b, h, nQ, nKV]`: each of its first three axes has the
/// full size or 1, which serves all, and its rows may end early.
///
/// Copies share the memory, which is never written after creation. Two are equal when they are the
/// same part of the same memory.
public struct BroadcastTensor<Element: BitwiseCopyable & Sendable>: Sendable, Hashable {
  /// Owns the elements.
  @usableFromInline
  final class Memory: @unchecked Sendable {
    @usableFromInline let base: UnsafeMutablePointer<Element>
    /// Heads of a batch entry.
    @usableFromInline let heads: Int

    init(_ shape: TensorShape) {
      base = .allocate(capacity: shape.count)
      heads = shape.heads
    }

    deinit { base.deallocate() }
  }

  @usableFromInline let memory: Memory
  /// The sizes as stored.
  public let shape: TensorShape
  @usableFromInline let first: Int
  @usableFromInline let headStep: Int

  /// Creates a tensor of rank 4, row-major, and fills it.
  ///
  /// - Parameter body: must write every element.
  /// - Throws: what `body` throws.
  public init<Failure: Error>(
    _ shape: TensorShape,
    initializing body: (UnsafeMutableBufferPointer<Element>) throws(Failure)
      -> Void
  ) throws(Failure) {
    let memory = Memory(shape)
    try body(UnsafeMutableBufferPointer(start: memory.base, count: shape.count))
    self.init(memory, shape, first: 0, headStep: 1)
  }

  private init(_ memory: Memory, _ shape: TensorShape, first: Int, headStep: Int) {
    self.memory = memory
    self.shape = shape
    self.first = first
    self.headStep = headStep
  }

  /// The elements of a row: as many as the tensor has columns.
  @inlinable @inline(__always)
  public func row(_ batch: Int, _ head: Int, _ row: Int) -> UnsafePointer<Element> {
    let batch = shape.batch == 1 ? 0 : batch
    let head = shape.heads == 1 ? 0 : head
    let row = shape.rows == 1 ? 0 : row
    let index = (batch * memory.heads + first + head * headStep) * shape.rows + row
    return UnsafePointer(memory.base + index * shape.columns)
  }

  /// Heads `first`, `first + step`, ... of the heads it stands for.
  package func heads(_ first: Int, step: Int, count: Int) -> BroadcastTensor {
    if shape.heads == 1 { return self }
    return BroadcastTensor(
      memory, TensorShape(unchecked: shape.batch, count, shape.rows, shape.columns),
      first: self.first + first * headStep, headStep: headStep * step)
  }

  public static func == (a: BroadcastTensor, b: BroadcastTensor) -> Bool {
    a.memory === b.memory && a.shape == b.shape && a.first == b.first
      && a.headStep == b.headStep
  }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(ObjectIdentifier(memory))
    hasher.combine(shape)
    hasher.combine(first)
    hasher.combine(headStep)
  }
}
