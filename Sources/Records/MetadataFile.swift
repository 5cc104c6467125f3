import Attention
import Foundation
import Statistics
import Units

/// `meta.json` on disk.
enum MetadataFile {
  /// Replaces the file as a whole.
  static func write(_ metadata: RunMetadata, to path: String) throws(RecordError) {
    try FileBytes.replace(path, with: try encode(metadata, path: path))
  }

  /// Reads what `write` wrote.
  static func read(_ path: String) throws(RecordError) -> RunMetadata {
    let bytes = try FileBytes.read(path)
    let decoder = JSONDecoder()
    decoder.dateDecodingStrategy = .iso8601
    do {
      return try decoder.decode(RunMetadata.self, from: Data(bytes))
    } catch {
      throw .malformedFile(path: path, problem: problem(error))
    }
  }

  private static func encode(_ metadata: RunMetadata, path: String) throws(RecordError) -> [UInt8] {
    let encoder = JSONEncoder.readable
    encoder.dateEncodingStrategy = .iso8601
    do {
      return Array(try encoder.encode(metadata)) + [UInt8(ascii: "\n")]
    } catch {
      throw .malformedFile(path: path, problem: problem(error))
    }
  }

  /// One line of what Foundation says in many.
  private static func problem(_ error: any Error) -> String {
    switch error {
    case DecodingError.keyNotFound(let key, _): "no key '\(key.stringValue)'"
    case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context),
      DecodingError.dataCorrupted(let context):
      context.codingPath.isEmpty
        ? "not valid JSON"
        : "the value of '\(context.codingPath.map(\.stringValue).joined(separator: "."))' does not fit"
    default: "\(error)"
    }
  }
}
