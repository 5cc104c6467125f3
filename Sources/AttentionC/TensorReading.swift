import Attention
import CAttnbench
import Glibc

/// Where a tensor's elements lie, as byte addresses: from the first to one past the last.
typealias ByteRange = Range<UInt>

extension attnbench_tensor {
  /// Whether the caller means none.
  var isNone: Bool { data == nil && shape == (0, 0, 0, 0) }

  private func sizes(_ argument: String) throws -> TensorShape {
    do throws(AttentionError) {
      return try TensorShape(Int(shape.0), Int(shape.1), Int(shape.2), Int(shape.3))
    } catch {
      throw InterfaceError(
        InterfaceError(error).status,
        "\(argument).shape = \(error.value): \(error.advice)")
    }
  }

  /// Strides of axes that have more than one entry, checked; 0 for the others.
  private func usedStrides(
    _ sizes: TensorShape, _ argument: String
  ) throws(InterfaceError) -> (batch: Int, head: Int, row: Int, column: Int) {
    func used(_ size: Int, _ stride: Int64, _ axis: Int) throws(InterfaceError) -> Int {
      if size == 1 { return 0 }
      guard stride >= 0 else {
        throw InterfaceError(
          .shapeMismatch,
          "\(argument).strides[\(axis)] = \(stride): must not be negative; copy the tensor")
      }
      return Int(stride)
    }
    return (
      try used(sizes.batch, strides.0, 0), try used(sizes.heads, strides.1, 1),
      try used(sizes.rows, strides.2, 2), try used(sizes.columns, strides.3, 3)
    )
  }

  /// The address, and the bytes from there to one past the last element of a tensor with such strides,
  /// whose rows end `rowBytes` after their beginning.
  private func bytes(
    _ sizes: TensorShape, _ strides: (batch: Int, head: Int, row: Int), rowBytes: Int,
    elementBytes: Int, _ argument: String
  ) throws(InterfaceError) -> (UnsafeMutableRawPointer, ByteRange) {
    guard let data else { throw .null("\(argument).data") }
    let address = UInt(bitPattern: data)
    guard address % UInt(elementBytes) == 0 else {
      throw InterfaceError(
        .invalidArgument,
        "\(argument).data: must be a multiple of an element's \(elementBytes) bytes; copy the tensor"
      )
    }
    guard let extent = Self.extent(sizes, strides, rowBytes: rowBytes, elementBytes: elementBytes),
      case let (end, overflow) = address.addingReportingOverflow(UInt(extent)), !overflow
    else {
      throw InterfaceError(
        .tooLarge,
        "\(argument).strides = \(strides): the last element lies beyond the address space")
    }
    return (data, address..<end)
  }

  /// Bytes from a tensor's first element to one past its last; nil where they overflow.
  private static func extent(
    _ sizes: TensorShape, _ strides: (batch: Int, head: Int, row: Int), rowBytes: Int,
    elementBytes: Int
  ) -> Int? {
    var elements = 0
    for (size, stride) in [
      (sizes.batch, strides.batch), (sizes.heads, strides.head), (sizes.rows, strides.row),
    ] {
      let (step, overflow) = stride.multipliedReportingOverflow(by: size - 1)
      let (sum, sumOverflow) = elements.addingReportingOverflow(step)
      if overflow || sumOverflow { return nil }
      elements = sum
    }
    let (bytes, overflow) = elements.multipliedReportingOverflow(by: elementBytes)
    let (end, endOverflow) = bytes.addingReportingOverflow(rowBytes)
    return overflow || endOverflow ? nil : end
  }

  /// The tensor as an operand of a run, and where it lies.
  ///
  /// - Parameter rowsInUse: how many of the rows exist, for tensors that end early; nil for all.
  private func place(
    _ argument: String, rowsInUse: Int?
  ) throws -> (
    address: UnsafeMutableRawPointer, type: ElementType, shape: TensorShape,
    strides: (batch: Int, head: Int, row: Int), bytes: ByteRange
  ) {
    let elementType = try elementType(type, "\(argument).type")
    let sizes = try sizes(argument)
    let used = try usedStrides(sizes, argument)
    guard sizes.columns == 1 || used.column == 1 else {
      throw InterfaceError(
        .shapeMismatch,
        "\(argument).strides[3] = \(used.column): rows must be contiguous, stride 1; copy the tensor"
      )
    }
    let rowBytes = elementType.rowBytes(columns: sizes.columns)
    let strides = (used.batch, used.head, used.row)
    let inUse = try rowsInUse.map {
      try TensorShape(sizes.batch, sizes.heads, max(1, min($0, sizes.rows)), sizes.columns)
    }
    let (address, range) = try bytes(
      inUse ?? sizes, strides, rowBytes: rowBytes, elementBytes: elementType.byteCount, argument)
    if let inUse {
      // The library's arithmetic on the whole view must not overflow either.
      guard
        Self.extent(sizes, strides, rowBytes: rowBytes, elementBytes: elementType.byteCount) != nil
      else {
        throw InterfaceError(
          .tooLarge, "\(argument).strides = \(strides): overflow on \(sizes), \(inUse) in use")
      }
    }
    return (address, elementType, sizes, strides, range)
  }

  /// A view for reading, and where it lies.
  func view(
    _ argument: String, rowsInUse: Int? = nil
  ) throws -> (view: TensorView, bytes: ByteRange) {
    let place = try place(argument, rowsInUse: rowsInUse)
    let view = try naming(argument) { () throws(AttentionError) in
      try TensorView(
        place.address, place.type, shape: place.shape, strides: place.strides,
        channelScales: channel_scales)
    }
    return (view, place.bytes)
  }

  /// A view for writing, and where it lies.
  func mutableView(_ argument: String) throws -> (view: MutableTensorView, bytes: ByteRange) {
    let place = try place(argument, rowsInUse: nil)
    let view = try naming(argument) { () throws(AttentionError) in
      try MutableTensorView(place.address, place.type, shape: place.shape, strides: place.strides)
    }
    return (view, place.bytes)
  }

  /// A mask: one byte an element, 0 hides.
  func mask(_ argument: String, on problem: AttentionShape) throws -> BroadcastTensor<UInt8>? {
    if isNone { return nil }
    try checkBroadcast(argument, on: problem)
    guard type == ATTNBENCH_BOOL.rawValue else {
      throw InterfaceError(.shapeMismatch, "\(argument).type = \(type): must be 5 (bool)")
    }
    return try copy(argument, as: UInt8.self) { (element: UInt8) in element == 0 ? 0 : 1 }
  }

  /// A bias, as fp32.
  func bias(_ argument: String, on problem: AttentionShape) throws -> BroadcastTensor<Float>? {
    if isNone { return nil }
    try checkBroadcast(argument, on: problem)
    switch attnbench_element_type(rawValue: type) {
    case ATTNBENCH_F32: return try copy(argument, as: Float.self) { (element: Float) in element }
    case ATTNBENCH_F16:
      return try copy(argument, as: UInt16.self) { (element: UInt16) in
        Float(Float16(bitPattern: element))
      }
    case ATTNBENCH_BF16:
      return try copy(argument, as: UInt16.self) { (element: UInt16) in
        Float(bitPattern: UInt32(element) << 16)
      }
    default:
      throw InterfaceError(
        .shapeMismatch, "\(argument).type = \(type): must be 0 (f32), 1 (f16) or 2 (bf16)")
    }
  }

  /// Refuses a shape that does not stand for `[b, h, nQ, nKV]`, before its elements are read.
  private func checkBroadcast(_ argument: String, on problem: AttentionShape) throws {
    let sizes = try sizes(argument)
    let fits =
      [1, problem.batch].contains(sizes.batch) && [1, problem.heads].contains(sizes.heads)
      && [1, problem.queryLength].contains(sizes.rows) && sizes.columns <= problem.keyLength
    if fits { return }
    throw InterfaceError(
      .shapeMismatch,
      "\(argument) = \(sizes): must be [\(problem.batch) or 1, \(problem.heads) or 1, "
        + "\(problem.queryLength) or 1, at most \(problem.keyLength)]")
  }

  /// A copy of a tensor of any strides. Axes that repeat stay one entry.
  private func copy<Stored: BitwiseCopyable, Element: BitwiseCopyable & Sendable>(
    _ argument: String, as type: Stored.Type, _ convert: (Stored) -> Element
  ) throws -> BroadcastTensor<Element> {
    let sizes = try sizes(argument)
    let used = try usedStrides(sizes, argument)
    let (columnExtent, overflow) = used.column.multipliedReportingOverflow(by: sizes.columns - 1)
    let (rowBytes, bytesOverflow) = columnExtent.multipliedReportingOverflow(
      by: MemoryLayout<Stored>.size)
    guard !overflow, !bytesOverflow, rowBytes < Int.max / 2 else {
      throw InterfaceError(
        .tooLarge, "\(argument).strides[3] = \(used.column): the last element is beyond all memory")
    }
    let (address, _) = try bytes(
      sizes, (used.batch, used.head, used.row), rowBytes: rowBytes + MemoryLayout<Stored>.size,
      elementBytes: MemoryLayout<Stored>.size, argument)
    // As many entries as differ.
    let stored = try TensorShape(
      used.batch == 0 ? 1 : sizes.batch, used.head == 0 ? 1 : sizes.heads,
      used.row == 0 ? 1 : sizes.rows, sizes.columns)
    try checkMemory(stored.count * MemoryLayout<Element>.size, argument)
    return BroadcastTensor(stored) { elements in
      var index = 0
      for batch in 0..<stored.batch {
        for head in 0..<stored.heads {
          for row in 0..<stored.rows {
            let start =
              address
              + (batch * used.batch + head * used.head + row * used.row) * MemoryLayout<Stored>.size
            let source = start.assumingMemoryBound(to: Stored.self)
            for column in 0..<stored.columns {
              elements.initializeElement(at: index, to: convert(source[column * used.column]))
              index += 1
            }
          }
        }
      }
    }
  }
}

/// Refuses memory that the system would not give: the library's own allocation could not say so.
private func checkMemory(_ bytes: Int, _ argument: String) throws(InterfaceError) {
  guard let memory = malloc(bytes) else {
    throw InterfaceError(
      .outOfMemory, "\(argument): the system refused \(bytes) bytes for a copy of it")
  }
  free(memory)
}

/// What goes wrong inside `body`, said of an argument.
private func naming<Value>(
  _ argument: String, _ body: () throws(AttentionError) -> Value
) throws(InterfaceError) -> Value {
  do throws(AttentionError) {
    return try body()
  } catch {
    throw InterfaceError(InterfaceError(error).status, "\(argument).\(error)")
  }
}
