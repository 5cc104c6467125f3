/// A `.npy` `descr` in words, for those that are not read.
struct NpyTypeName {
  enum Kind {
    case plain
    case object
    case structured
  }

  let text: String
  let kind: Kind

  /// For example `>f4` gives "big-endian float32 (>f4)".
  static func describe(_ descriptor: String) -> NpyTypeName {
    if descriptor.hasPrefix("[") || descriptor.hasPrefix("{") {
      return NpyTypeName(text: "structured (\(descriptor.prefix(60)))", kind: .structured)
    }
    var rest = Substring(descriptor)
    let order = rest.first.flatMap { "<>=|".contains($0) ? $0 : nil }
    if order != nil { rest.removeFirst() }
    guard let letter = rest.first, let name = names[letter] else {
      return NpyTypeName(text: "'\(descriptor.prefix(60))'", kind: .plain)
    }
    let bits = Int(rest.dropFirst()).flatMap { (1...32).contains($0) ? $0 * 8 : nil }
    let sized = "fiuc".contains(letter) ? name + (bits.map(String.init) ?? "") : name
    let text = "\(order == ">" ? "big-endian " : "")\(sized) (\(descriptor.prefix(60)))"
    return NpyTypeName(text: text, kind: letter == "O" ? .object : .plain)
  }

  private static let names: [Character: String] = [
    "f": "float", "i": "int", "u": "uint", "c": "complex", "b": "bool", "?": "bool",
    "O": "Python object", "S": "byte string", "a": "byte string", "U": "string", "V": "raw bytes",
    "M": "datetime", "m": "timedelta",
  ]
}
