import Tensors

/// How a file stores each element of a tensor: floating-point numbers for attention, truth values for
/// masks, integers for lengths. `ElementType` is what a problem's tensors can be in memory.
public enum FileElementType: Hashable, Sendable {
  /// IEEE binary16.
  case float16
  /// The upper half of a binary32.
  case bfloat16
  /// IEEE binary32.
  case float32
  /// IEEE binary64, which is read and written, and computed in fp32.
  case float64
  /// A truth value in a byte: 0 is false.
  case bool
  /// An integer of so many bytes.
  case integer(isSigned: Bool, byteWidth: Int)

  /// Types of one use, of which a reader accepts some.
  public enum Kind: String, CaseIterable, Sendable {
    /// Numbers with a fraction.
    case floating = "floating-point"
    /// Truth values.
    case bool
    /// Whole numbers.
    case integer
  }

  /// Every floating-point type.
  public static let floatingPoint: [FileElementType] = [.float16, .bfloat16, .float32, .float64]

  /// Every type that is read.
  static let all: [FileElementType] =
    floatingPoint + [.bool]
    + [true, false].flatMap { isSigned in
      [1, 2, 4, 8].map { .integer(isSigned: isSigned, byteWidth: $0) }
    }

  /// The type of a tensor in memory; nil for integers with scales, which files do not hold.
  public init?(_ type: ElementType) {
    switch type {
    case .float32: self = .float32
    case .float16: self = .float16
    case .bfloat16: self = .bfloat16
    case .int8PerToken, .int8PerChannel: return nil
    }
  }

  /// The same type in memory; nil where no problem's tensors can have it.
  public var elementType: ElementType? {
    switch self {
    case .float16: .float16
    case .bfloat16: .bfloat16
    case .float32: .float32
    case .float64, .bool, .integer: nil
    }
  }

  /// What the elements are good for.
  public var kind: Kind {
    switch self {
    case .float16, .bfloat16, .float32, .float64: .floating
    case .bool: .bool
    case .integer: .integer
    }
  }

  /// Bytes an element takes.
  public var byteWidth: Int {
    switch self {
    case .float16, .bfloat16: 2
    case .float32: 4
    case .float64: 8
    case .bool: 1
    case .integer(_, let byteWidth): byteWidth
    }
  }

  /// The `descr` of a `.npy` header, or nil for bfloat16, which NumPy does not know.
  public var npyDescriptor: String? {
    switch self {
    case .float16: "<f2"
    case .bfloat16: nil
    case .float32: "<f4"
    case .float64: "<f8"
    case .bool: "|b1"
    case .integer(let isSigned, let byteWidth):
      (byteWidth == 1 ? "|" : "<") + (isSigned ? "i" : "u") + "\(byteWidth)"
    }
  }

  /// The `dtype` of a `.safetensors` header.
  public var safetensorsName: String {
    switch self {
    case .float16: "F16"
    case .bfloat16: "BF16"
    case .float32: "F32"
    case .float64: "F64"
    case .bool: "BOOL"
    case .integer(let isSigned, let byteWidth): (isSigned ? "I" : "U") + "\(8 * byteWidth)"
    }
  }

  /// The type a `.npy` `descr` stands for: little-endian or native, nothing else.
  init?(npyDescriptor descriptor: String) {
    let native =
      descriptor.hasPrefix("=")
      ? "<" + descriptor.dropFirst() : descriptor == "?" ? "|b1" : descriptor
    guard let type = Self.all.first(where: { $0.npyDescriptor == native }) else { return nil }
    self = type
  }

  /// The type a `.safetensors` `dtype` stands for, nil for those that are not read.
  init?(safetensorsName name: String) {
    guard let type = Self.all.first(where: { $0.safetensorsName == name }) else { return nil }
    self = type
  }
}
