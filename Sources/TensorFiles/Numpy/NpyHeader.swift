/// The preamble and header of a `.npy` file.
///
/// Layout (NumPy Enhancement Proposal 1): `\x93NUMPY`, major and minor version, the length of the
/// header as little-endian 16 bits (1.0) or 32 bits (2.0, 3.0), then a Python dictionary literal
/// with exactly the keys `descr`, `fortran_order` and `shape`, padded with spaces so that the data
/// behind it is aligned.
struct NpyHeader {
  static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

  /// What NumPy itself writes for the longest of real headers is a few kilobytes.
  private static let maximumLength = 1 << 20

  let type: FileElementType
  /// The type as the header spells it.
  let descriptor: String
  let shape: FileShape
  /// Where the first element lies in the file.
  let dataOffset: Int

  /// Reads and checks everything in front of the data.
  ///
  /// - Parameter kinds: what the elements may be.
  init(from file: InputFile, accepting kinds: [FileElementType.Kind]) throws(TensorFileError) {
    let preamble = try file.bytes(at: 0, count: min(12, file.size))
    guard preamble.starts(with: Self.magic), preamble.count >= 10 else {
      throw file.failure(.notThisFormat("is not a .npy file: it does not begin with \\x93NUMPY"))
    }
    let lengthWidth: Int
    switch (preamble[6], preamble[7]) {
    case (1, 0): lengthWidth = 2
    case (2, 0), (3, 0): lengthWidth = 4
    case (let major, let minor):
      throw file.failure(.unsupportedVersion(major: Int(major), minor: Int(minor)))
    }
    let start = 8 + lengthWidth
    guard preamble.count >= start else {
      throw file.failure(.headerPastEnd(length: UInt64(lengthWidth), available: file.size - 8))
    }
    let length = preamble[8..<start].reversed().reduce(0) { $0 << 8 | Int($1) }
    guard length <= file.size - start else {
      throw file.failure(.headerPastEnd(length: UInt64(length), available: file.size - start))
    }
    guard length <= Self.maximumLength else {
      throw file.failure(.headerTooLong(length: UInt64(length), limit: Self.maximumLength))
    }
    let fields = try Self.fields(of: file.bytes(at: start, count: length), in: file)
    dataOffset = start + length
    (type, descriptor) = try Self.type(fields.descr, in: file, accepting: kinds)
    shape = try Self.shape(fields.shape, in: file)
    guard case .bool(let fortranOrder) = fields.fortranOrder else {
      throw file.failure(
        .malformedHeader("fortran_order is \(fields.fortranOrder), not True or False"))
    }
    guard !fortranOrder else { throw file.failure(.fortranOrder) }
  }

  /// Version 1.0 with the data on a 64-byte boundary, as NumPy writes it.
  static func encode(type descriptor: String, shape: FileShape) -> [UInt8] {
    let dimensions = shape.dimensions.map(String.init)
    let tuple = dimensions.joined(separator: ", ") + (dimensions.count == 1 ? "," : "")
    let text = "{'descr': '\(descriptor)', 'fortran_order': False, 'shape': (\(tuple)), }"
    let unpadded = magic.count + 4 + text.utf8.count + 1
    let padding = (64 - unpadded % 64) % 64
    let length = text.utf8.count + padding + 1
    // The longest shape has 64 dimensions of 19 digits, far less than 64 KiB.
    let lengthBytes = [UInt8(truncatingIfNeeded: length), UInt8(truncatingIfNeeded: length >> 8)]
    return magic + [1, 0] + lengthBytes + Array(text.utf8)
      + [UInt8](repeating: UInt8(ascii: " "), count: padding) + [UInt8(ascii: "\n")]
  }

  private typealias Fields = (
    descr: PythonLiteral, fortranOrder: PythonLiteral, shape: PythonLiteral
  )

  private static func fields(
    of header: [UInt8], in file: InputFile
  ) throws(TensorFileError) -> Fields {
    let literal: PythonLiteral
    do throws(PythonLiteralError) {
      literal = try PythonLiteralParser.parse(header)
    } catch {
      throw file.failure(.malformedHeader(error.message))
    }
    guard case .dictionary(let entries) = literal else {
      throw file.failure(.malformedHeader("it is not a dictionary"))
    }
    var fields: [PythonLiteral: PythonLiteral] = [:]
    for entry in entries {
      guard fields.updateValue(entry.value, forKey: entry.key) == nil else {
        throw file.failure(.malformedHeader("the key \(entry.key) occurs twice"))
      }
    }
    guard let descr = fields[.string("descr")], let shape = fields[.string("shape")],
      let fortranOrder = fields[.string("fortran_order")], fields.count == 3
    else {
      let keys = entries.prefix(8).map(\.key.description).joined(separator: ", ")
      throw file.failure(
        .malformedHeader(
          "it needs exactly the keys 'descr', 'fortran_order' and 'shape' and has: \(keys)"))
    }
    return (descr, fortranOrder, shape)
  }

  private static func type(
    _ descr: PythonLiteral, in file: InputFile, accepting kinds: [FileElementType.Kind]
  ) throws(TensorFileError) -> (FileElementType, String) {
    func refusal(_ found: String) -> TensorFileError {
      file.failure(.unexpectedElementType(tensor: nil, found: found, accepted: kinds))
    }
    guard case .string(let descriptor) = descr else { throw refusal(descr.description) }
    guard let type = FileElementType(npyDescriptor: descriptor), kinds.contains(type.kind) else {
      throw refusal(descriptor)
    }
    return (type, descriptor)
  }

  private static func shape(
    _ literal: PythonLiteral, in file: InputFile
  ) throws(TensorFileError) -> FileShape {
    guard case .tuple(let values) = literal else {
      throw file.failure(.malformedHeader("shape is \(literal), not a tuple"))
    }
    var dimensions: [Int] = []
    for value in values {
      guard case .integer(let dimension) = value else {
        throw file.failure(.malformedHeader("shape holds \(value), not an integer"))
      }
      dimensions.append(dimension)
    }
    do throws(FileShapeError) {
      return try FileShape(dimensions)
    } catch {
      throw file.failure(.badShape(tensor: nil, error))
    }
  }
}
