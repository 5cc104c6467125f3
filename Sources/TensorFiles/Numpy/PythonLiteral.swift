/// A value of the Python literals that a `.npy` header may be made of.
indirect enum PythonLiteral: Hashable, Sendable {
  case none
  case bool(Bool)
  case integer(Int)
  case string(String)
  case tuple([PythonLiteral])
  case list([PythonLiteral])
  case dictionary([Entry])

  /// One `key: value` of a dictionary; the order is kept and keys may repeat.
  struct Entry: Hashable, Sendable {
    let key: PythonLiteral
    let value: PythonLiteral
  }
}

extension PythonLiteral: CustomStringConvertible {
  /// The literal as Python would print it.
  var description: String {
    switch self {
    case .none: "None"
    case .bool(let value): value ? "True" : "False"
    case .integer(let value): "\(value)"
    case .string(let value): "'\(value)'"
    case .tuple(let values) where values.count == 1: "(\(values[0]),)"
    case .tuple(let values): "(\(values.map(\.description).joined(separator: ", ")))"
    case .list(let values): "[\(values.map(\.description).joined(separator: ", "))]"
    case .dictionary(let entries):
      "{\(entries.map { "\($0.key): \($0.value)" }.joined(separator: ", "))}"
    }
  }
}
