import SystemPackage

/// A tensor file that cannot be read, written or understood.
///
/// The message names the file, what was found, what is accepted, and how to get there.
public struct TensorFileError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What is wrong with a file.
  public enum Reason: Hashable, Sendable {
    // The file itself.
    /// The operating system refused an operation: `open`, `read`, ...
    case system(operation: String, errno: Errno)
    /// The file could not be written.
    case output(OutputError)
    /// A directory, pipe or device stands where a file is to be read.
    case notARegularFile
    /// The name ends neither in `.npy` nor in `.safetensors`.
    case unknownExtension
    /// Memory for the decoded tensor could not be had.
    case outOfMemory(TensorAllocationError)

    // The header.
    /// The file does not begin as its format demands.
    case notThisFormat(String)
    /// A `.npy` version other than 1.0, 2.0 and 3.0.
    case unsupportedVersion(major: Int, minor: Int)
    /// The file ends inside its header.
    case headerPastEnd(length: UInt64, available: Int)
    /// A header longer than the format permits or any real file has.
    case headerTooLong(length: UInt64, limit: Int)
    /// A header that does not parse or lacks a field.
    case malformedHeader(String)
    /// Two entries of a header have the same name.
    case duplicateName(String)

    // The tensor. A name is given where the file can hold several.
    /// Dimensions that cannot be.
    case badShape(tensor: String?, FileShapeError)
    /// Column-major data.
    case fortranOrder
    /// An element type that is not read, or not what is wanted here.
    case unexpectedElementType(
      tensor: String?, found: String, accepted: [FileElementType.Kind])
    /// An element type that the format cannot store.
    case unwritableElementType(FileElementType)
    /// A finite fp64 number that fp32 has no room for.
    case beyondFloat32(tensor: String?, Float32RangeError)
    /// The bytes present are not those the shape and the type call for.
    case wrongByteCount(tensor: String?, shape: [Int], type: String, expected: Int, found: Int)

    // The layout of a `.safetensors` file.
    /// Offsets that are negative or in the wrong order.
    case badOffsets(tensor: String, begin: Int, end: Int)
    /// A tensor that ends after the file does.
    case offsetsPastEnd(tensor: String, end: Int, available: Int)
    /// Two tensors that share bytes.
    case overlap(first: String, second: String)
    /// Bytes that belong to no tensor; offsets count from the end of the header.
    case hole(begin: Int, end: Int)

    // The selection.
    /// There is no tensor of that name.
    case noSuchTensor(String, nearest: [String], prefixes: [String])
    /// No tensor was named and the file does not hold exactly one.
    case tensorNotNamed(available: [String])
    /// A group of tensors (`q`, `k`, `v`) was asked for that the file does not have.
    case noSuchGroup(
      prefix: String?, missing: [String], nearest: [String], prefixes: [String])
    /// Several tensors for a `.npy` file.
    case severalTensors([String])
    /// A `.npy` file where `q`, `k` and `v` are asked for at once.
    case notAGroup
    /// A selector behind the name of a file that holds one tensor.
    case selectorNotAllowed(String)
    /// A colon with nothing behind it.
    case emptySelector
  }

  /// The file, as the caller named it.
  public let path: String

  /// What is wrong.
  public let reason: Reason

  /// States that the file at `path` fails for `reason`.
  public init(path: String, _ reason: Reason) {
    self.path = path
    self.reason = reason
  }

  /// One line: the file, what was found, what is accepted, the way there.
  public var description: String { "\(path): \(reason.explanation)" }
}
