/// How the elements of a tensor are stored. Whatever the storage, sums are taken in fp32.
public enum ElementType: String, Sendable, Hashable, CaseIterable, Codable {
  /// IEEE binary32.
  case float32 = "f32"
  /// IEEE binary16: 11 bits of precision, largest 65,504.
  case float16 = "f16"
  /// The upper half of a binary32: 8 bits of precision, the range of fp32.
  case bfloat16 = "bf16"
  /// 8-bit integers with one fp32 scale a row, which follows the row's elements at the next multiple
  /// of four bytes: element = integer x scale. Keys and values only.
  case int8PerToken = "int8-token"
  /// 8-bit integers with one fp32 scale a column of each head, kept beside the tensor: see
  /// `TensorView.channelScales`. Keys and values only.
  case int8PerChannel = "int8-channel"

  /// Bytes from one element to the next.
  @inlinable
  public var byteCount: Int {
    switch self {
    case .float32: 4
    case .float16, .bfloat16: 2
    case .int8PerToken, .int8PerChannel: 1
    }
  }

  /// The largest relative error of rounding to it, half a unit in the last place; 0 for integers,
  /// whose error their scales decide.
  package var unitRoundoff: Double {
    switch self {
    case .float32: 0x1p-24
    case .float16: 0x1p-11
    case .bfloat16: 0x1p-8
    case .int8PerToken, .int8PerChannel: 0
    }
  }

  /// Half the distance of its subnormal numbers: the largest error of rounding a small number.
  package var leastRoundoff: Double {
    switch self {
    case .float32: 0x1p-150
    case .float16: 0x1p-25
    case .bfloat16: 0x1p-134
    case .int8PerToken, .int8PerChannel: 0
    }
  }

  /// Whether it is a floating-point number, which queries and outputs must be.
  @inlinable
  public var isFloatingPoint: Bool {
    switch self {
    case .float32, .float16, .bfloat16: true
    case .int8PerToken, .int8PerChannel: false
    }
  }

  /// Bytes that a row of `columns` elements takes, with the scale that follows it, if any.
  @inlinable
  public func rowBytes(columns: Int) -> Int {
    self == .int8PerToken ? scaleOffset(columns: columns) + 4 : columns * byteCount
  }

  /// Bytes that a densely stored tensor takes, with its scales, if any.
  public func bytes(_ shape: TensorShape) -> Int {
    let rows = shape.batch * shape.heads * shape.rows * rowBytes(columns: shape.columns)
    return self == .int8PerChannel ? rows + 4 * shape.batch * shape.heads * shape.columns : rows
  }

  /// Where the scale of a row of `columns` elements begins, in bytes from the row's first element.
  @inlinable
  package func scaleOffset(columns: Int) -> Int { (columns + 3) & ~3 }
}
