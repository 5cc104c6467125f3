import Attention
import CAttnbench

/// A structure of the header whose first field is its size.
///
/// A caller compiled against an older header hands in a shorter one, whose missing fields are zeros;
/// one compiled against a newer header a longer one, of which the rest must be zeros.
protocol SizedStructure {
  init()
}

extension attnbench_problem: SizedStructure {}
extension attnbench_operands: SizedStructure {}
extension attnbench_team_options: SizedStructure {}
extension attnbench_cache_options: SizedStructure {}
extension attnbench_info: SizedStructure {}

extension SizedStructure {
  /// Reads what a caller hands in.
  static func read(
    _ pointer: UnsafePointer<Self>?, _ argument: String
  ) throws(InterfaceError) -> Self {
    guard let pointer else { throw .null(argument) }
    let size = try checkedSize(UnsafeRawPointer(pointer), argument)
    let known = MemoryLayout<Self>.size
    let bytes = UnsafeRawBufferPointer(start: pointer, count: size)
    if bytes.dropFirst(known).contains(where: { $0 != 0 }) {
      throw InterfaceError(
        .invalidArgument,
        "\(argument).size = \(size): this library knows \(known) bytes, and the rest is not zero; "
          + "leave out what is newer than the library, or use a newer library")
    }
    var value = Self()
    withUnsafeMutableBytes(of: &value) { $0.copyMemory(from: .init(rebasing: bytes.prefix(known))) }
    return value
  }

  /// Writes to a structure of the caller's, as much as that has room for, and leaves its size alone.
  func write(to pointer: UnsafeMutablePointer<Self>?, _ argument: String) throws(InterfaceError) {
    guard let pointer else { throw .null(argument) }
    let size = try Self.checkedSize(UnsafeRawPointer(pointer), argument)
    let field = MemoryLayout<UInt32>.size
    withUnsafeBytes(of: self) { bytes in
      let count = min(size, bytes.count) - field
      UnsafeMutableRawPointer(pointer).advanced(by: field)
        .copyMemory(from: bytes.baseAddress.unsafelyUnwrapped + field, byteCount: count)
    }
  }

  private static func checkedSize(
    _ pointer: UnsafeRawPointer, _ argument: String
  ) throws(InterfaceError) -> Int {
    let size = Int(pointer.loadUnaligned(as: UInt32.self))
    // More than a page is no structure but memory that nobody has set.
    guard (8...4096).contains(size) else {
      throw InterfaceError(
        .invalidArgument, "\(argument).size = \(size): must be sizeof(\(Self.self))")
    }
    return size
  }
}

/// A list of numbers of the caller's, or nil.
func numbers(_ pointer: UnsafePointer<Int64>?, count: Int) -> [Int]? {
  pointer.map { UnsafeBufferPointer(start: $0, count: count).map(Int.init) }
}

/// A list of numbers of the caller's, or nil.
func numbers(_ pointer: UnsafePointer<Float>?, count: Int) -> [Float]? {
  pointer.map { Array(UnsafeBufferPointer(start: $0, count: count)) }
}

/// A text of the caller's.
func text(_ pointer: UnsafePointer<CChar>?, _ argument: String) throws(InterfaceError) -> String {
  guard let pointer else { throw .null(argument) }
  guard let text = String(validatingCString: pointer) else {
    throw InterfaceError(.invalidArgument, "\(argument): must be UTF-8")
  }
  return text
}

/// A field that is 0 or 1.
func flag(_ value: UInt32, _ argument: String) throws(InterfaceError) -> Bool {
  guard value <= 1 else {
    throw InterfaceError(.invalidArgument, "\(argument) = \(value): must be 0 or 1")
  }
  return value == 1
}

/// The element type of operands that has a number.
func elementType(_ number: UInt32, _ argument: String) throws(InterfaceError) -> ElementType {
  switch attnbench_element_type(rawValue: number) {
  case ATTNBENCH_F32: return .float32
  case ATTNBENCH_F16: return .float16
  case ATTNBENCH_BF16: return .bfloat16
  case ATTNBENCH_INT8_TOKEN: return .int8PerToken
  case ATTNBENCH_INT8_CHANNEL: return .int8PerChannel
  default:
    throw InterfaceError(
      .invalidArgument,
      "\(argument) = \(number): must be 0 (f32), 1 (f16), 2 (bf16), 3 (int8-token) or "
        + "4 (int8-channel)")
  }
}
