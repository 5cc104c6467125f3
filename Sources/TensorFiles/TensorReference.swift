/// A tensor, or a group of them, as named on a command line: `q.npy`, `file.safetensors`,
/// `file.safetensors:layer0`, `file.safetensors:layer0.q`.
public struct TensorReference: Hashable, Sendable, CustomStringConvertible {
  public enum Format: String, CaseIterable, Sendable {
    /// One array a file.
    case npy
    /// Several named tensors a file.
    case safetensors
  }

  public let path: String

  /// The format, which the name of the file tells.
  public let format: Format

  /// What follows the colon: a tensor's key or a prefix; nil if nothing does.
  public let selector: String?

  /// Parses a command line argument.
  ///
  /// The selector begins behind the first `.safetensors:`, so a path may contain colons. Nothing is
  /// opened: whether the file exists shows when it is read.
  ///
  /// - Throws: `TensorFileError` if the file's name ends in neither extension, a selector is empty,
  ///   or a `.npy` file is given one.
  public init(_ argument: String) throws(TensorFileError) {
    if let marker = argument.firstRange(of: ".safetensors:") {
      let selector = String(argument[marker.upperBound...])
      path = String(argument[..<marker.upperBound].dropLast())
      guard !selector.isEmpty else { throw TensorFileError(path: path, .emptySelector) }
      format = .safetensors
      self.selector = selector
    } else if let format = Self.format(of: argument) {
      path = argument
      self.format = format
      selector = nil
    } else if let marker = argument.firstRange(of: ".npy:") {
      throw TensorFileError(
        path: String(argument[..<marker.upperBound].dropLast()),
        .selectorNotAllowed(String(argument[marker.upperBound...])))
    } else {
      throw TensorFileError(path: argument, .unknownExtension)
    }
  }

  /// The argument it was parsed from.
  public var description: String {
    selector.map { "\(path):\($0)" } ?? path
  }

  /// The format the name of the file at `path` tells, or nil.
  static func format(of path: String) -> Format? {
    Format.allCases.first { path.hasSuffix("." + $0.rawValue) }
  }
}
