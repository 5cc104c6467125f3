import Foundation

/// Looks for a key that an object of a JSON text has twice.
enum DuplicateJSONKey {
  /// The first repeated key at any depth, or nil. `json` must be valid JSON: every string that a
  /// colon follows is then a key of the innermost open object. O(n) time.
  static func first(in json: [UInt8]) -> String? {
    var open: [Set<String>] = []
    var position = 0
    while position < json.count {
      switch json[position] {
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        open.append([])
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        _ = open.popLast()
      case UInt8(ascii: "\""):
        let end = endOfString(in: json, from: position)
        if isKey(endingAt: end, in: json), !open.isEmpty {
          let key = string(json[position..<end])
          guard open[open.count - 1].insert(key).inserted else { return key }
        }
        position = end - 1
      default:
        break
      }
      position += 1
    }
    return nil
  }

  /// The position behind the closing quote.
  private static func endOfString(in json: [UInt8], from start: Int) -> Int {
    var position = start + 1
    while position < json.count, json[position] != UInt8(ascii: "\"") {
      position += json[position] == UInt8(ascii: "\\") ? 2 : 1
    }
    return min(position + 1, json.count)
  }

  private static func isKey(endingAt end: Int, in json: [UInt8]) -> Bool {
    let space = Set(" \t\r\n".utf8)
    return json[end...].first { !space.contains($0) } == UInt8(ascii: ":")
  }

  /// The string between the quotes, its escapes resolved: `"\u0071"` and `"q"` are the same key.
  private static func string(_ quoted: ArraySlice<UInt8>) -> String {
    guard quoted.contains(UInt8(ascii: "\\")),
      let decoded = try? JSONDecoder().decode(String.self, from: Data(quoted))
    else {
      return String(decoding: quoted.dropFirst().dropLast(), as: UTF8.self)
    }
    return decoded
  }
}
