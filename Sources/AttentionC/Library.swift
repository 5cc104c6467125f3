import Attention
import CAttnbench
import Glibc

/// A text that C may keep for ever.
private struct LibraryText: @unchecked Sendable {
  // Never freed, never written.
  let pointer: UnsafePointer<CChar>?

  init(_ text: String) { pointer = UnsafePointer(strdup(text)) }

  static let version = LibraryText(AttnbenchVersion.current)
  static let strategies = LibraryText(StrategyRegistry.standard.json)
}

@c @implementation
public func attnbench_abi_version() -> UInt32 { UInt32(ATTNBENCH_ABI_VERSION) }

@c @implementation
public func attnbench_version() -> UnsafePointer<CChar>? { LibraryText.version.pointer }

@c @implementation
public func attnbench_strategies() -> UnsafePointer<CChar>? { LibraryText.strategies.pointer }

extension StrategyRegistry {
  /// The families, as `attnbench_strategies` shows them.
  fileprivate var json: String {
    JSONText.list(
      families.map { family in
        JSONText.object([
          ("name", JSONText.string(family.name)),
          ("aliases", JSONText.list(family.aliases.map(JSONText.string))),
          ("class", JSONText.string(family.operatorClass.rawValue)),
          ("summary", JSONText.string(family.summary)),
          ("source", JSONText.string(family.source)),
          (
            "parameters",
            JSONText.list(
              family.parameters.map {
                JSONText.object([
                  ("label", JSONText.string($0.label)), ("help", JSONText.string($0.help)),
                ])
              })
          ),
          ("operands", JSONText.list(family.operands.map(\.json))),
        ])
      })
  }
}

extension OperandDeclaration {
  fileprivate var json: String {
    JSONText.object([
      ("name", JSONText.string(name)),
      ("axes", JSONText.list(axes.map { JSONText.string($0.letter) })),
      ("meaning", JSONText.string(meaning)),
      ("optional", isOptional ? "true" : "false"),
    ])
  }
}

/// JSON of texts and lists, without Foundation, which would be most of the library.
private enum JSONText {
  static func object(_ fields: [(name: String, value: String)]) -> String {
    "{" + fields.map { "\(string($0.name)): \($0.value)" }.joined(separator: ", ") + "}"
  }

  static func list(_ values: [String]) -> String { "[" + values.joined(separator: ", ") + "]" }

  static func string(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": quoted += "\\\(scalar)"
      case "\n": quoted += "\\n"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted + "\""
  }
}
