/// What a header has where something else was expected.
struct PythonLiteralError: Error, Hashable, Sendable {
  let message: String
}

/// Recursive-descent parser of one Python literal with nothing but white space around it.
///
/// Grammar, after Python's own, as far as NumPy's `repr` of a header goes:
/// ```
/// value      = "None" | "True" | "False" | integer | string | tuple | list | dictionary
/// integer    = [ "+" | "-" ] digit+ [ "L" ]           L: written by Python 2
/// string     = "'" ... "'" | '"' ... '"'              a backslash shields the next byte
/// tuple      = "(" ")" | "(" value "," [ value { "," value } [ "," ] ] ")"
/// list       = "[" [ value { "," value } [ "," ] ] "]"
/// dictionary = "{" [ entry { "," entry } [ "," ] ] "}"      entry = value ":" value
/// ```
struct PythonLiteralParser {
  /// Deeper nesting than any element type has; bounds the recursion on damaged input.
  private static let maximumDepth = 32

  private let bytes: [UInt8]
  private var position = 0

  private init(_ bytes: [UInt8]) {
    self.bytes = bytes
  }

  static func parse(_ bytes: [UInt8]) throws(PythonLiteralError) -> PythonLiteral {
    var parser = PythonLiteralParser(bytes)
    let value = try parser.value(depth: 0)
    parser.skipSpace()
    guard parser.position == bytes.count else {
      throw parser.error(expected: "the end of the header")
    }
    return value
  }

  private mutating func value(depth: Int) throws(PythonLiteralError) -> PythonLiteral {
    guard depth <= Self.maximumDepth else {
      throw PythonLiteralError(message: "nested more than \(Self.maximumDepth) deep")
    }
    skipSpace()
    switch peek {
    case "{": return try dictionary(depth: depth)
    case "[": return .list(try sequence(from: "[", to: "]", depth: depth).values)
    case "(": return try parenthesised(depth: depth)
    case "'", "\"": return .string(try string())
    case "+", "-", "0"..."9": return .integer(try integer())
    default: return try word()
    }
  }

  private mutating func dictionary(depth: Int) throws(PythonLiteralError) -> PythonLiteral {
    var entries: [PythonLiteral.Entry] = []
    take("{")
    while !takeIfNext("}") {
      let key = try value(depth: depth + 1)
      guard takeIfNext(":") else { throw error(expected: "':'") }
      entries.append(PythonLiteral.Entry(key: key, value: try value(depth: depth + 1)))
      guard takeIfNext(",") || nextIs("}") else { throw error(expected: "',' or '}'") }
    }
    return .dictionary(entries)
  }

  /// `(x)` is x, `(x,)` a tuple.
  private mutating func parenthesised(depth: Int) throws(PythonLiteralError) -> PythonLiteral {
    let (values, endsWithComma) = try sequence(from: "(", to: ")", depth: depth)
    return values.count == 1 && !endsWithComma ? values[0] : .tuple(values)
  }

  private mutating func sequence(
    from opening: Unicode.Scalar, to closing: Unicode.Scalar, depth: Int
  ) throws(PythonLiteralError) -> (values: [PythonLiteral], endsWithComma: Bool) {
    var values: [PythonLiteral] = []
    var endsWithComma = false
    take(opening)
    while !takeIfNext(closing) {
      values.append(try value(depth: depth + 1))
      endsWithComma = takeIfNext(",")
      guard endsWithComma || nextIs(closing) else {
        throw error(expected: "',' or '\(closing)'")
      }
    }
    return (values, endsWithComma)
  }

  /// Escapes stay as they are written: no name or type NumPy reads needs one.
  private mutating func string() throws(PythonLiteralError) -> String {
    let quote = bytes[position]
    let start = position + 1
    position = start
    while position < bytes.count, bytes[position] != quote {
      position += bytes[position] == UInt8(ascii: "\\") ? 2 : 1
    }
    guard position < bytes.count else {
      throw PythonLiteralError(message: "the string at byte \(start - 1) does not end")
    }
    defer { position += 1 }
    return String(decoding: bytes[start..<position], as: UTF8.self)
  }

  private mutating func integer() throws(PythonLiteralError) -> Int {
    let start = position
    if peek == "+" || peek == "-" { position += 1 }
    while ("0"..."9").contains(peek) { position += 1 }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    guard ("0"..."9").contains(text.unicodeScalars.last ?? " ") else {
      throw error(expected: "a digit")
    }
    guard let value = Int(text) else {
      throw PythonLiteralError(message: "the number \(text.prefix(40)) does not fit 64 bits")
    }
    if peek == "L" { position += 1 }
    return value
  }

  private mutating func word() throws(PythonLiteralError) -> PythonLiteral {
    for (word, value) in Self.words where bytes[position...].starts(with: word.utf8) {
      position += word.utf8.count
      return value
    }
    throw error(expected: "a value")
  }

  private static let words: [(String, PythonLiteral)] = [
    ("None", .none), ("True", .bool(true)), ("False", .bool(false)),
  ]

  /// The next byte, NUL at the end; NUL begins no token, so the two need not be told apart.
  private var peek: Unicode.Scalar {
    position < bytes.count ? Unicode.Scalar(bytes[position]) : "\0"
  }

  private mutating func take(_ scalar: Unicode.Scalar) {
    precondition(peek == scalar)
    position += 1
  }

  private mutating func nextIs(_ scalar: Unicode.Scalar) -> Bool {
    skipSpace()
    return peek == scalar
  }

  private mutating func takeIfNext(_ scalar: Unicode.Scalar) -> Bool {
    guard nextIs(scalar) else { return false }
    position += 1
    return true
  }

  private mutating func skipSpace() {
    while [" ", "\t", "\n", "\r"].contains(peek) { position += 1 }
  }

  private func error(expected: String) -> PythonLiteralError {
    let found = position < bytes.count ? "'\(peek.escaped(asASCII: true))'" : "the end"
    return PythonLiteralError(message: "expected \(expected) at byte \(position), found \(found)")
  }
}
