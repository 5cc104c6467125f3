/// Memory for a tensor could not be had.
public struct TensorAllocationError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The shape asked for.
  public let shape: FileShape
  /// Bytes an element would have taken.
  public let elementWidth: Int

  /// The shape and what it takes.
  public var description: String {
    let bytes = shape.elementCount * elementWidth
    return "a tensor of shape \(FileShape.describe(shape.dimensions)) needs \(bytes) bytes of "
      + "memory, more than can be had"
  }
}

/// A tensor in memory: fp32, row-major, contiguous, its first element on a 64-byte boundary.
///
/// The elements are written once, by the initialiser, and never again, which is why tensors may be
/// shared between threads: the class holds raw memory, so the compiler cannot see that itself.
public final class HostTensor: @unchecked Sendable {
  public let checkedShape: FileShape

  /// How the elements were stored where the tensor came from; fp32 for computed ones. Elements are
  /// fp32 here in every case: fp16 and bf16 lose nothing by that, fp64 is rounded.
  public let sourceType: FileElementType

  let memory: TensorMemory

  private var storage: UnsafeMutableBufferPointer<Float> {
    memory.bytes.bindMemory(to: Float.self)
  }

  /// The dimensions, slowest varying first.
  public var shape: [Int] { checkedShape.dimensions }

  public var count: Int { checkedShape.elementCount }

  /// Allocates a tensor and lets `body` write it.
  ///
  /// - Parameters:
  ///   - shape: The dimensions, slowest varying first.
  ///   - sourceType: How the elements were stored where they come from.
  ///   - body: Gets the uninitialised elements in row-major order and must set each of them.
  /// - Throws: `FileShapeError`, `TensorAllocationError`, or what `body` throws.
  public convenience init(
    shape: [Int], sourceType: FileElementType = .float32,
    initializing body: (UnsafeMutableBufferPointer<Float>) throws -> Void
  ) throws {
    let shape = try FileShape(shape)
    let memory = try FileTensor.allocate(shape, .float32)
    try body(memory.bytes.bindMemory(to: Float.self))
    self.init(shape: shape, sourceType: sourceType, memory: memory)
  }

  /// Makes a tensor of elements that are already written.
  init(shape: FileShape, sourceType: FileElementType, memory: TensorMemory) {
    precondition(memory.bytes.count == shape.elementCount * MemoryLayout<Float>.stride)
    self.checkedShape = shape
    self.sourceType = sourceType
    self.memory = memory
  }

  /// Calls `body` with the elements in row-major order. The pointer is valid during the call only.
  public func withUnsafeElements<Result: ~Copyable, Failure: Error>(
    _ body: (UnsafeBufferPointer<Float>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(UnsafeBufferPointer(storage))
  }
}
