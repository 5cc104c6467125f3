/// How a file stores each element of a tensor. In memory every tensor is fp32.
public enum TensorElementType: String, CaseIterable, Hashable, Sendable {
  /// IEEE binary16: 11 significant bits, largest finite value 65504.
  case float16
  /// The upper half of a binary32: 8 significant bits, the range of fp32.
  case bfloat16
  /// IEEE binary32.
  case float32
  /// IEEE binary64.
  case float64

  /// Bytes an element takes in a file.
  public var byteWidth: Int {
    switch self {
    case .float16, .bfloat16: 2
    case .float32: 4
    case .float64: 8
    }
  }

  /// The `descr` of a `.npy` header, or nil for bfloat16, which NumPy does not know.
  public var npyDescriptor: String? {
    switch self {
    case .float16: "<f2"
    case .bfloat16: nil
    case .float32: "<f4"
    case .float64: "<f8"
    }
  }

  /// The `dtype` of a `.safetensors` header.
  public var safetensorsName: String {
    switch self {
    case .float16: "F16"
    case .bfloat16: "BF16"
    case .float32: "F32"
    case .float64: "F64"
    }
  }

  /// The type a `.npy` `descr` stands for: little-endian (`<f4`) or native (`=f4`), nothing else.
  init?(npyDescriptor descriptor: String) {
    switch descriptor {
    case "<f2", "=f2": self = .float16
    case "<f4", "=f4": self = .float32
    case "<f8", "=f8": self = .float64
    default: return nil
    }
  }

  /// The type a `.safetensors` `dtype` stands for, nil for those that are not floating point.
  init?(safetensorsName name: String) {
    guard let type = Self.allCases.first(where: { $0.safetensorsName == name }) else { return nil }
    self = type
  }
}
