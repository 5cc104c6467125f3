import Foundation

/// A `.safetensors` header as it stands in the JSON, not yet checked.
struct SafetensorsDocument: Decodable {
  struct Tensor: Decodable {
    let dtype: String
    let shape: [Int]
    let offsets: [Int]

    enum CodingKeys: String, CodingKey {
      case dtype, shape
      case offsets = "data_offsets"
    }
  }

  private struct Name: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  var metadata: [String: String] = [:]
  var tensors: [String: Tensor] = [:]

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Name.self)
    for key in container.allKeys {
      if key.stringValue == SafetensorsHeader.metadataKey {
        metadata = try container.decode([String: String].self, forKey: key)
      } else {
        tensors[key.stringValue] = try container.decode(Tensor.self, forKey: key)
      }
    }
  }

  /// The decoder's error in one line: where, then what.
  static func explain(_ error: any Error) -> String {
    let context: DecodingError.Context
    switch error as? DecodingError {
    case .keyNotFound(let key, let found):
      return "\(place(found.codingPath))'\(key.stringValue)' is missing"
    case .typeMismatch(_, let found), .valueNotFound(_, let found), .dataCorrupted(let found):
      context = found
    default:
      return "\(error)"
    }
    return place(context.codingPath) + context.debugDescription
  }

  private static func place(_ path: [any CodingKey]) -> String {
    guard !path.isEmpty else { return "" }
    return "at "
      + path.map { $0.intValue.map { "[\($0)]" } ?? "'\($0.stringValue)'" }
      .joined(separator: " ") + ": "
  }
}
