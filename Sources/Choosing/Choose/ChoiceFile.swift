import Attention
import Foundation
import Records
import TensorFiles

/// A plan or a file of sensitivities that cannot be used: the field, its value, the rule it breaks
/// and the fix.
public struct ChoiceFileError: Error, Equatable, Sendable, CustomStringConvertible {
  public let path: String
  /// The field at fault, as `problem.heads`; empty where the file as a whole is.
  public let field: String
  /// Its value, printed; empty where there is none.
  public let value: String
  /// The rule it breaks.
  public let rule: String
  /// How to mend it.
  public let fix: String

  init(_ path: String, field: String, value: String = "", rule: String, fix: String) {
    self.path = path
    self.field = field
    self.value = value
    self.rule = rule
    self.fix = fix
  }

  /// One line: `plan.json: problem.heads 12: the tensors have 8; ...`.
  public var description: String {
    let subject = [field, value].filter { !$0.isEmpty }.joined(separator: " ")
    return "\(path): \(subject.isEmpty ? "" : subject + ": ")\(rule); \(fix)"
  }
}

/// Reading and writing the JSON files of choices.
package enum ChoiceFile {
  /// Decodes a file.
  ///
  /// - Parameter fix: how to make another.
  /// - Throws: `RecordError` when it cannot be read, `ChoiceFileError` naming the field at fault.
  static func read<Content: Decodable>(
    _ type: Content.Type, _ path: String, fix: String
  ) throws -> Content {
    let bytes = try FileBytes.read(path)
    do {
      return try JSONDecoder().decode(type, from: Data(bytes))
    } catch {
      throw explain(error, path, fix)
    }
  }

  /// A file to be written.
  ///
  /// - Throws: `RecordError`.
  package static func output(
    _ content: some Encodable, to path: String
  ) throws(RecordError) -> OutputFile {
    do {
      return OutputFile(
        path, Array(try JSONEncoder.readable.encode(content)) + [UInt8(ascii: "\n")])
    } catch {
      throw .malformedFile(path: path, problem: "\(error)")
    }
  }

  /// Writes a file, replacing it as a whole.
  ///
  /// - Throws: `RecordError`.
  static func write(_ content: some Encodable, to path: String) throws(RecordError) {
    let file = try output(content, to: path)
    do throws(OutputError) {
      try OutputTransaction([file]).commit()
    } catch {
      throw .output(error)
    }
  }

  /// Refuses another format and a later version.
  static func check(
    format: String, version: Int, are known: (format: String, version: Int), _ path: String,
    fix: String
  ) throws(ChoiceFileError) {
    guard format == known.format else {
      throw ChoiceFileError(
        path, field: "format", value: "'\(format)'", rule: "must be '\(known.format)'", fix: fix)
    }
    guard version >= 1, version <= known.version else {
      throw ChoiceFileError(
        path, field: "version", value: "\(version)",
        rule: "this attnbench reads \(known.version == 1 ? "1" : "1 to \(known.version)")",
        fix: "use the version that wrote it")
    }
  }

  /// The mix of strategies as a file writes them.
  ///
  /// - Parameter field: where the strategy of a head stands.
  /// - Throws: `ChoiceFileError` naming the head whose strategy is not known.
  static func mix(
    of texts: [String], _ registry: StrategyRegistry, _ path: String, field: (Int) -> String,
    fix: String
  ) throws(ChoiceFileError) -> MixedAttention {
    var strategies: [any AttentionStrategy] = []
    for (head, text) in texts.enumerated() {
      do throws(AttentionError) {
        strategies.append(try registry.strategy(text))
      } catch {
        throw ChoiceFileError(
          path, field: field(head), value: "'\(text)'", rule: "\(error)",
          fix: "attnbench list shows what there is")
      }
    }
    do throws(AttentionError) {
      return try MixedAttention(strategies)
    } catch {
      throw ChoiceFileError(path, field: "heads", rule: "\(error)", fix: fix)
    }
  }

  /// What a decoder's complaint says of the file.
  private static func explain(_ error: any Error, _ path: String, _ fix: String) -> ChoiceFileError
  {
    func field(_ keys: [any CodingKey]) -> String {
      keys.reduce("") { text, key in
        if let index = key.intValue { return text + "[\(index)]" }
        return text.isEmpty ? key.stringValue : "\(text).\(key.stringValue)"
      }
    }
    switch error {
    case DecodingError.keyNotFound(let key, let context):
      return ChoiceFileError(
        path, field: field(context.codingPath + [key]), rule: "is missing", fix: fix)
    case DecodingError.typeMismatch(let type, let context),
      DecodingError.valueNotFound(let type, let context):
      return ChoiceFileError(
        path, field: field(context.codingPath), rule: "must be \(name(of: type))", fix: fix)
    case DecodingError.dataCorrupted(let context) where !context.codingPath.isEmpty:
      return ChoiceFileError(
        path, field: field(context.codingPath), rule: "holds a value out of range", fix: fix)
    default:
      return ChoiceFileError(path, field: "", rule: "is not valid JSON", fix: fix)
    }
  }

  private static func name(of type: any Any.Type) -> String {
    switch type {
    case is Int.Type: "a whole number"
    case is Double.Type, is Float.Type: "a number"
    case is Bool.Type: "true or false"
    case is String.Type: "a text"
    case is [Any].Type: "a list"
    default: "an object"
    }
  }
}
