/// A tensor as it is stored: row-major, contiguous, its first element on a 64-byte boundary.
///
/// The elements are written once, by the initialiser, and never again, which is why tensors may be
/// shared between threads: the class holds raw memory, so the compiler cannot see that itself.
public final class FileTensor: @unchecked Sendable {
  public let checkedShape: FileShape
  /// How the elements are stored.
  public let elementType: FileElementType
  let memory: TensorMemory

  /// The dimensions, slowest varying first.
  public var shape: [Int] { checkedShape.dimensions }

  public var count: Int { checkedShape.elementCount }

  init(shape: FileShape, elementType: FileElementType, memory: TensorMemory) {
    precondition(memory.bytes.count == shape.elementCount * elementType.byteWidth)
    checkedShape = shape
    self.elementType = elementType
    self.memory = memory
  }

  /// Allocates a tensor and lets `body` write it.
  ///
  /// - Parameters:
  ///   - shape: The dimensions, slowest varying first.
  ///   - body: Gets the uninitialised bytes and must set each of them.
  /// - Throws: `FileShapeError`, `TensorAllocationError`, or what `body` throws.
  public convenience init(
    shape: [Int], elementType: FileElementType,
    initializing body: (UnsafeMutableRawBufferPointer) throws -> Void
  ) throws {
    let shape = try FileShape(shape)
    let memory = try Self.allocate(shape, elementType)
    try body(memory.bytes)
    self.init(shape: shape, elementType: elementType, memory: memory)
  }

  /// The same elements, in fp32, without a copy.
  public convenience init(_ tensor: HostTensor) {
    self.init(
      shape: tensor.checkedShape, elementType: .float32, memory: tensor.memory)
  }

  static func allocate(
    _ shape: FileShape, _ elementType: FileElementType
  ) throws(TensorAllocationError) -> TensorMemory {
    guard let memory = TensorMemory(count: shape.elementCount, elementWidth: elementType.byteWidth)
    else { throw TensorAllocationError(shape: shape, elementWidth: elementType.byteWidth) }
    return memory
  }

  /// Calls `body` with the elements' bytes in row-major order. The pointer is valid during the call
  /// only.
  public func withUnsafeBytes<Result: ~Copyable, Failure: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(UnsafeRawBufferPointer(memory.bytes))
  }

  /// The elements in fp32: those that are share the memory, the others are converted, which only
  /// fp64 loses anything by. Nil where they are no floating-point numbers.
  ///
  /// - Throws: `TensorAllocationError`; `Float32RangeError` for the first number that is too large.
  public func floats(_ large: LargeNumbers = .refused) throws -> HostTensor? {
    guard elementType.kind == .floating else { return nil }
    if large == .refused { try checkFloat32Range() }
    if elementType == .float32 {
      return HostTensor(shape: checkedShape, sourceType: elementType, memory: memory)
    }
    let wide = try Self.allocate(checkedShape, .float32)
    ElementConversion.decode(
      UnsafeRawBufferPointer(memory.bytes), as: elementType,
      into: wide.bytes.bindMemory(to: Float.self), saturating: large == .saturated)
    return HostTensor(shape: checkedShape, sourceType: elementType, memory: wide)
  }

  /// The elements as integers. Nil where they are none, or one of them is beyond `Int`.
  public func integers() -> [Int]? {
    guard case .integer(let isSigned, let byteWidth) = elementType else { return nil }
    func all<Element: FixedWidthInteger>(_: Element.Type) -> [Int]? {
      var values: [Int] = []
      values.reserveCapacity(count)
      for element in memory.bytes.bindMemory(to: Element.self) {
        guard let value = Int(exactly: element) else { return nil }
        values.append(value)
      }
      return values
    }
    switch (isSigned, byteWidth) {
    case (true, 1): return all(Int8.self)
    case (true, 2): return all(Int16.self)
    case (true, 4): return all(Int32.self)
    case (true, _): return all(Int64.self)
    case (false, 1): return all(UInt8.self)
    case (false, 2): return all(UInt16.self)
    case (false, 4): return all(UInt32.self)
    case (false, _): return all(UInt64.self)
    }
  }
}
