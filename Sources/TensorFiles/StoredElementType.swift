/// How a file stores each element of a tensor, for tensors that are no attention inputs, too:
/// masks are truth values, lengths are integers.
public enum StoredElementType: Hashable, Sendable {
  /// A floating-point number.
  case floating(TensorElementType)
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

  /// Every type that is read.
  static let all: [StoredElementType] =
    TensorElementType.allCases.map { .floating($0) } + [.bool]
    + [true, false].flatMap { isSigned in
      [1, 2, 4, 8].map { .integer(isSigned: isSigned, byteWidth: $0) }
    }

  /// What the elements are good for.
  public var kind: Kind {
    switch self {
    case .floating: .floating
    case .bool: .bool
    case .integer: .integer
    }
  }

  /// Bytes an element takes.
  public var byteWidth: Int {
    switch self {
    case .floating(let type): type.byteWidth
    case .bool: 1
    case .integer(_, let byteWidth): byteWidth
    }
  }

  /// The floating-point type, or nil where it is none.
  public var floatingType: TensorElementType? {
    if case .floating(let type) = self { type } else { nil }
  }

  /// The `descr` of a `.npy` header, or nil for bfloat16, which NumPy does not know.
  public var npyDescriptor: String? {
    switch self {
    case .floating(let type): type.npyDescriptor
    case .bool: "|b1"
    case .integer(let isSigned, let byteWidth):
      (byteWidth == 1 ? "|" : "<") + (isSigned ? "i" : "u") + "\(byteWidth)"
    }
  }

  /// The `dtype` of a `.safetensors` header.
  public var safetensorsName: String {
    switch self {
    case .floating(let type): type.safetensorsName
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
