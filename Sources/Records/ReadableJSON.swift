import Attention
import Foundation
import Statistics
import Units

extension JSONEncoder {
  /// As this project writes JSON: indented, with its keys in order, so that people can read and
  /// compare it.
  package static var readable: JSONEncoder {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return encoder
  }
}
