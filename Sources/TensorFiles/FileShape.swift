/// Why a list of dimensions cannot be the shape of a tensor here.
public enum FileShapeError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The shape is `()` or `[]`: one number, not an array.
  case zeroDimensional
  /// More dimensions than ``FileShape/maximumRank``.
  case tooManyDimensions([Int])
  /// A dimension below 0.
  case negativeDimension([Int])
  /// The bytes the elements would take cannot be counted in 63 bits.
  case overflow([Int])

  /// What is wrong and what is accepted.
  public var description: String {
    switch self {
    case .zeroDimensional:
      "is 0-dimensional (one number, no axes); at least 1 dimension is needed: x.reshape(1) "
        + "adds it"
    case .tooManyDimensions(let shape):
      "has \(shape.count) dimensions; at most \(FileShape.maximumRank) are accepted"
    case .negativeDimension(let shape):
      "has shape \(FileShape.describe(shape)) with a negative dimension; the header is damaged"
    case .overflow(let shape):
      "has shape \(FileShape.describe(shape)), more elements than 63 bits can count bytes for; "
        + "the header is damaged"
    }
  }
}

/// The dimensions of a tensor, known to be countable.
///
/// A dimension may be 0: the tensor is then empty. Even so the product of the others is known not
/// to overflow, so that strides can always be computed.
public struct FileShape: Hashable, Sendable {
  /// The rank NumPy stops at, and more than any attention input has.
  public static let maximumRank = 64

  /// The dimensions, slowest varying first.
  public let dimensions: [Int]

  /// The product of the dimensions.
  public let elementCount: Int

  /// Checks `dimensions`: at least one of them, none negative, their product countable in bytes of
  /// the widest element.
  ///
  /// - Throws: `FileShapeError` naming the rule that is broken.
  public init(_ dimensions: [Int]) throws(FileShapeError) {
    guard !dimensions.isEmpty else { throw .zeroDimensional }
    guard dimensions.count <= Self.maximumRank else { throw .tooManyDimensions(dimensions) }
    guard dimensions.allSatisfy({ $0 >= 0 }) else { throw .negativeDimension(dimensions) }
    var bytes = FileElementType.float64.byteWidth
    for dimension in dimensions {
      let (product, overflow) = bytes.multipliedReportingOverflow(by: max(dimension, 1))
      guard !overflow else { throw .overflow(dimensions) }
      bytes = product
    }
    self.dimensions = dimensions
    self.elementCount =
      dimensions.contains(0) ? 0 : bytes / FileElementType.float64.byteWidth
  }

  /// `[12, 512, 32]`, cut short where a damaged header gives thousands of dimensions.
  static func describe(_ shape: [Int]) -> String {
    let shown = shape.prefix(8).map(String.init).joined(separator: ", ")
    return shape.count > 8 ? "[\(shown), ...]" : "[\(shown)]"
  }
}
