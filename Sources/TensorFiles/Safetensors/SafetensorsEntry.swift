/// What a `.safetensors` header says of one tensor.
public struct SafetensorsEntry: Hashable, Sendable {
  /// The key of the tensor.
  public let name: String

  /// The element type as the file spells it: `F16`, `I64`, ...
  public let dtype: String

  /// The dimensions, slowest varying first; none for a single number.
  public let shape: [Int]

  /// Where the bytes lie, counted from the end of the header.
  public let byteRange: Range<Int>

  /// The element type if it is one that can be read.
  public var elementType: FileElementType? { FileElementType(safetensorsName: dtype) }
}
