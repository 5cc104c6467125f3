import Foundation

/// The JSON in front of a `.safetensors` file's data, checked as a whole.
///
/// Layout: the length of the header as 8 little-endian bytes; a JSON object from tensor names to
/// `dtype`, `shape` and `data_offsets`, with an optional `__metadata__` of strings; the data. The
/// tensors must cover the data exactly, without holes and without overlap.
struct SafetensorsHeader {
  static let lengthWidth = 8

  /// The limit of the reference implementation.
  static let maximumLength = 100_000_000

  static let metadataKey = "__metadata__"

  let metadata: [String: String]
  let entries: [String: SafetensorsEntry]
  /// Where the data begins in the file.
  let dataOffset: Int

  init(from file: InputFile) throws(TensorFileError) {
    guard file.size >= Self.lengthWidth else {
      throw file.failure(
        .notThisFormat(
          "is not a .safetensors file: it is \(file.size) bytes long, at least 8 "
            + "are needed"))
    }
    let length = try file.bytes(at: 0, count: Self.lengthWidth).reversed()
      .reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    let available = file.size - Self.lengthWidth
    guard length <= UInt64(Self.maximumLength) else {
      throw file.failure(.headerTooLong(length: length, limit: Self.maximumLength))
    }
    guard length <= UInt64(available) else {
      throw file.failure(.headerPastEnd(length: length, available: available))
    }
    let bytes = try file.bytes(at: Self.lengthWidth, count: Int(length))
    let document = try Self.decode(bytes, in: file)
    dataOffset = Self.lengthWidth + bytes.count
    metadata = document.metadata
    entries = try Self.check(
      document.tensors, dataLength: available - bytes.count, in: file)
  }

  private static func decode(
    _ bytes: [UInt8], in file: InputFile
  ) throws(TensorFileError) -> SafetensorsDocument {
    guard bytes.first == UInt8(ascii: "{") else {
      throw file.failure(
        .notThisFormat("is not a .safetensors file: its header does not begin with '{'"))
    }
    let document: SafetensorsDocument
    do {
      document = try JSONDecoder().decode(SafetensorsDocument.self, from: Data(bytes))
    } catch {
      throw file.failure(.malformedHeader(SafetensorsDocument.explain(error)))
    }
    // The decoder keeps one of several equal keys and says nothing.
    if let name = DuplicateJSONKey.first(in: bytes) {
      throw file.failure(.duplicateName(name))
    }
    return document
  }

  private static func check(
    _ tensors: [String: SafetensorsDocument.Tensor], dataLength: Int, in file: InputFile
  ) throws(TensorFileError) -> [String: SafetensorsEntry] {
    var entries: [SafetensorsEntry] = []
    for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
      entries.append(try check(name, tensor, dataLength: dataLength, in: file))
    }
    try checkCoverage(entries, dataLength: dataLength, in: file)
    return Dictionary(uniqueKeysWithValues: entries.map { ($0.name, $0) })
  }

  private static func check(
    _ name: String, _ tensor: SafetensorsDocument.Tensor, dataLength: Int, in file: InputFile
  ) throws(TensorFileError) -> SafetensorsEntry {
    guard tensor.offsets.count == 2 else {
      throw file.failure(
        .malformedHeader(
          "tensor '\(name)' has \(tensor.offsets.count) data_offsets, 2 are needed"))
    }
    let (begin, end) = (tensor.offsets[0], tensor.offsets[1])
    guard 0 <= begin, begin <= end else {
      throw file.failure(.badOffsets(tensor: name, begin: begin, end: end))
    }
    guard end <= dataLength else {
      throw file.failure(.offsetsPastEnd(tensor: name, end: end, available: dataLength))
    }
    let count = try elementCount(name, tensor.shape, in: file)
    let entry = SafetensorsEntry(
      name: name, dtype: tensor.dtype, shape: tensor.shape, byteRange: begin..<end)
    // Sizes of the types that are not read are not our business.
    if let type = entry.elementType, count * type.byteWidth != end - begin {
      throw file.failure(
        .wrongByteCount(
          tensor: name, shape: tensor.shape, type: tensor.dtype,
          expected: count * type.byteWidth, found: end - begin))
    }
    return entry
  }

  /// A single number, of shape `[]`, is legal in a file, though not as a tensor to read.
  private static func elementCount(
    _ name: String, _ shape: [Int], in file: InputFile
  ) throws(TensorFileError) -> Int {
    do throws(FileShapeError) {
      return try shape.isEmpty ? 1 : FileShape(shape).elementCount
    } catch {
      throw file.failure(.badShape(tensor: name, error))
    }
  }

  private static func checkCoverage(
    _ entries: [SafetensorsEntry], dataLength: Int, in file: InputFile
  ) throws(TensorFileError) {
    let ordered = entries.sorted { a, b in
      (a.byteRange.lowerBound, a.byteRange.upperBound, a.name)
        < (b.byteRange.lowerBound, b.byteRange.upperBound, b.name)
    }
    var covered = 0
    var last = ""
    for entry in ordered {
      let begin = entry.byteRange.lowerBound
      guard begin >= covered else {
        throw file.failure(.overlap(first: last, second: entry.name))
      }
      guard begin == covered else { throw file.failure(.hole(begin: covered, end: begin)) }
      covered = entry.byteRange.upperBound
      last = entry.name
    }
    guard covered == dataLength else {
      throw file.failure(.hole(begin: covered, end: dataLength))
    }
  }
}
