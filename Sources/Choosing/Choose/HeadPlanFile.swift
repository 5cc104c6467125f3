import Attention
import Foundation
import Measuring
import Records
import Statistics
import Units

/// A plan file that cannot be used: the field, its value, the rule it breaks and the fix.
public struct HeadPlanError: Error, Equatable, Sendable, CustomStringConvertible {
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

extension HeadPlan {
  /// Reads and checks a plan file.
  ///
  /// - Throws: `RecordError` when the file cannot be read, `HeadPlanError` when it is no plan.
  public init(path: String) throws {
    let bytes = try FileBytes.read(path)
    do {
      self = try JSONDecoder().decode(HeadPlan.self, from: Data(bytes))
    } catch {
      throw Self.explain(error, path: path)
    }
    try check(path)
  }

  /// Writes the plan, replacing the file as a whole.
  ///
  /// - Throws: `RecordError` when the file cannot be written.
  public func write(to path: String) throws(RecordError) {
    let bytes: [UInt8]
    do {
      bytes = Array(try JSONEncoder.readable.encode(self)) + [UInt8(ascii: "\n")]
    } catch {
      throw .malformedFile(path: path, problem: "\(error)")
    }
    try FileBytes.replace(path, with: bytes)
  }

  /// The mix that the plan asks for.
  ///
  /// - Parameter path: names the file in errors.
  /// - Throws: `HeadPlanError` naming the head whose strategy is not known.
  public func mix(
    of registry: StrategyRegistry = .standard, path: String
  ) throws(HeadPlanError) -> MixedAttention {
    var strategies: [any AttentionStrategy] = []
    for (index, head) in heads.enumerated() {
      do throws(AttentionError) {
        strategies.append(try registry.strategy(head.strategy))
      } catch {
        throw HeadPlanError(
          path, field: "heads[\(index)].strategy", value: "'\(head.strategy)'",
          rule: "\(error)", fix: "attnbench list shows what there is")
      }
    }
    do throws(AttentionError) {
      return try MixedAttention(strategies)
    } catch {
      throw HeadPlanError(path, field: "heads", rule: "\(error)", fix: Self.remake)
    }
  }

  /// Checks that tensors are of the sizes the plan was made for; their batch may differ.
  ///
  /// - Throws: `HeadPlanError` naming the first size that does not fit.
  public func check(fits shape: AttentionShape, path: String) throws(HeadPlanError) {
    let sizes = [
      ("heads", problem.heads, shape.heads), ("kv_heads", problem.kvHeads, shape.kvHeads),
      ("head_dim", problem.headDim, shape.headDim),
      ("value_dim", problem.valueDim, shape.valueDim),
      ("n_q", problem.queryLength, shape.queryLength),
      ("n_kv", problem.keyLength, shape.keyLength),
    ]
    for (name, planned, found) in sizes where planned != found {
      throw HeadPlanError(
        path, field: "problem.\(name)", value: "\(planned)", rule: "the tensors have \(found)",
        fix: Self.remake)
    }
  }

  /// The problem of the plan on tensors of a shape.
  ///
  /// - Throws: `AttentionError` when scale or offset are out of range.
  public func problem(on shape: AttentionShape) throws(AttentionError) -> AttentionProblem {
    let isUsual = problem.queryOffset == shape.keyLength - shape.queryLength
    return try AttentionProblem(
      shape, scoring: Scoring(scale: problem.scale),
      visibility: Visibility(
        causal: problem.causal,
        offset: isUsual ? .bottomRight : .fixed(problem.queryOffset)))
  }

  /// What to say where tensors are stored otherwise than those that the plan was measured on; nil
  /// where they are not, and where the plan does not say.
  ///
  /// The results are right all the same. The errors and times of the plan are not theirs.
  public func caution(on elements: Storage, path: String) -> String? {
    guard let planned = problem.elementType, elements != Storage(planned) else { return nil }
    return "\(path) was measured on \(Storage(planned).label) tensors and ran on "
      + "\(elements.label): its errors and times are not those of this run; "
      + "attnbench recommend --per-head --dtype \(elements.query.rawValue) makes a plan for them"
  }

  private static let remake =
    "make a plan for these tensors: attnbench recommend --per-head --inputs FILE --save PLAN"

  private func check(_ path: String) throws(HeadPlanError) {
    guard format == Self.format else {
      throw HeadPlanError(
        path, field: "format", value: "'\(format)'", rule: "a plan says '\(Self.format)'",
        fix: Self.remake)
    }
    guard version >= 1, version <= Self.currentVersion else {
      throw HeadPlanError(
        path, field: "version", value: "\(version)",
        rule: "this attnbench reads 1 to \(Self.currentVersion)",
        fix: "use the version that wrote it")
    }
    guard problem.scale.isFinite else {
      throw HeadPlanError(
        path, field: "problem.scale", value: "\(problem.scale)", rule: "must be a finite number",
        fix: Self.remake)
    }
    guard heads.count == problem.heads, !heads.isEmpty else {
      throw HeadPlanError(
        path, field: "heads", value: "with \(heads.count) entries",
        rule: "one is needed for each of the \(problem.heads) query heads",
        fix: "add or remove entries")
    }
    for (index, head) in heads.enumerated() where head.head != index {
      throw HeadPlanError(
        path, field: "heads[\(index)].head", value: "\(head.head)",
        rule: "entries stand in the order of the heads", fix: "\(index) belongs here")
    }
  }

  /// What a decoder's complaint says of the file.
  private static func explain(_ error: any Error, path: String) -> HeadPlanError {
    func field(_ keys: [any CodingKey]) -> String {
      keys.reduce("") { text, key in
        if let index = key.intValue { return text + "[\(index)]" }
        return text.isEmpty ? key.stringValue : "\(text).\(key.stringValue)"
      }
    }
    switch error {
    case DecodingError.keyNotFound(let key, let context):
      return HeadPlanError(
        path, field: field(context.codingPath + [key]), rule: "is missing", fix: remake)
    case DecodingError.typeMismatch(let type, let context),
      DecodingError.valueNotFound(let type, let context):
      return HeadPlanError(
        path, field: field(context.codingPath), rule: "must be \(name(of: type))", fix: remake)
    case DecodingError.dataCorrupted(let context) where !context.codingPath.isEmpty:
      return HeadPlanError(
        path, field: field(context.codingPath), rule: "holds a value out of range", fix: remake)
    default:
      return HeadPlanError(path, field: "", rule: "is not valid JSON", fix: remake)
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
