import AttentionKernels
import Suggestions
import Tensors

/// A strategy as the user writes it: `name`, `name(512)`, `name(512, sinks: 4)`.
public struct StrategySpec: Sendable, Hashable {
  /// The family's name.
  public let name: String
  /// What stands between the parentheses: label (if any) and value.
  public let arguments: [Argument]

  public struct Argument: Sendable, Hashable {
    /// The label before the colon, or nil for a positional argument.
    public let label: String?
    public let value: String
  }

  /// Parses one strategy.
  ///
  /// - Throws: `AttentionError` when the text is not `name` or `name(value, label: value, ...)`.
  public init(parsing text: String) throws(AttentionError) {
    let trimmed = text.trimmed
    func malformed(_ advice: String) -> AttentionError {
      AttentionError(.invalidArgument, argument: "strategy", value: "'\(trimmed)'", advice: advice)
    }
    guard let open = trimmed.firstIndex(of: "(") else {
      if trimmed.isEmpty || trimmed.contains(")") {
        throw malformed("write name or name(value, label: value)")
      }
      name = trimmed.lowercased()
      arguments = []
      return
    }
    guard trimmed.last == ")", open != trimmed.startIndex else {
      throw malformed("write name(value, label: value) with a closing parenthesis")
    }
    name = String(trimmed[..<open]).trimmed.lowercased()
    let inside = trimmed[trimmed.index(after: open)...].dropLast()
    if inside.contains("(") || inside.contains(")") {
      throw malformed("parentheses do not nest")
    }
    var arguments: [Argument] = []
    if !String(inside).trimmed.isEmpty {
      for part in inside.split(separator: ",", omittingEmptySubsequences: false) {
        let sides = part.split(separator: ":", omittingEmptySubsequences: false)
          .map { String($0).trimmed }
        guard sides.count <= 2, sides.allSatisfy({ !$0.isEmpty }) else {
          throw malformed("an argument is value or label: value, separated by commas")
        }
        if sides.count == 1, arguments.last?.label != nil {
          throw malformed("'\(sides[0])' needs a label or a place before the labelled arguments")
        }
        arguments.append(
          Argument(label: sides.count == 2 ? sides[0] : nil, value: sides[sides.count - 1]))
      }
    }
    self.arguments = arguments
  }

  /// Splits a list of strategies at the commas outside parentheses.
  public static func split(_ list: String) -> [String] {
    var parts = [""]
    var depth = 0
    for character in list {
      if character == "(" { depth += 1 }
      if character == ")" { depth -= 1 }
      if character == ",", depth == 0 {
        parts.append("")
      } else {
        parts[parts.count - 1].append(character)
      }
    }
    return parts.map(\.trimmed)
  }
}

/// The written parameters of a strategy, matched to the labels it declares.
public struct StrategyArguments: Sendable {
  private let family: String
  private let values: [String: String]

  /// No parameters: every default.
  public static func none(for family: String) -> StrategyArguments {
    StrategyArguments(family: family, values: [:])
  }

  private init(family: String, values: [String: String]) {
    self.family = family
    self.values = values
  }

  /// Matches written arguments to declared parameters.
  ///
  /// - Throws: `AttentionError` when there are too many, a label is unknown (with the nearest
  ///   one), or a parameter is given twice.
  init(
    _ spec: StrategySpec, parameters: [StrategyParameter]
  ) throws(AttentionError) {
    let labels = parameters.map(\.label)
    let usage = labels.isEmpty ? "takes no parameters" : "takes (\(labels.joined(separator: ", ")))"
    var values: [String: String] = [:]
    for (position, argument) in spec.arguments.enumerated() {
      if argument.label == nil, position >= labels.count {
        throw AttentionError(
          .unknownStrategy, argument: "parameter", value: argument.value,
          advice: "\(spec.name) \(usage)")
      }
      let label = argument.label ?? labels[position]
      guard labels.contains(label) else {
        let hint =
          NearestName.suggestions(for: label, among: labels).first.map { "did you mean '\($0)'? " }
          ?? ""
        throw AttentionError(
          .unknownStrategy, argument: "parameter", value: label,
          advice: "\(hint)\(spec.name) \(usage)")
      }
      guard values.updateValue(argument.value, forKey: label) == nil else {
        throw AttentionError(
          .invalidArgument, argument: "\(spec.name) \(label)", value: argument.value,
          advice: "is given twice")
      }
    }
    self.init(family: spec.name, values: values)
  }

  /// The text of a parameter, or nil when it was not written.
  public func text(_ label: String) -> String? { values[label] }

  /// A parameter as one of the words of a type, or nil when it was not written.
  ///
  /// - Throws: `AttentionError` that lists the words when it is none of them.
  public func choice<Choice: RawRepresentable & CaseIterable>(
    _ label: String
  ) throws(AttentionError) -> Choice? where Choice.RawValue == String {
    guard let text = values[label] else { return nil }
    if let choice = Choice(rawValue: text.lowercased()) { return choice }
    let words = Choice.allCases.map(\.rawValue)
    throw AttentionError(
      .invalidArgument, argument: "\(family) \(label)", value: "'\(text)'",
      advice: "must be \(words.joined(separator: " or "))")
  }

  /// A parameter as a whole number of at least `minimum` and at most `maximum`, or nil when it was not written.
  ///
  /// - Throws: `AttentionError` when it is no such number.
  public func integer(
    _ label: String, atLeast minimum: Int, atMost maximum: Int = AttentionShape.maximumLength
  ) throws(AttentionError) -> Int? {
    guard let text = values[label] else { return nil }
    guard let value = try? CountText.parse(text), value >= minimum,
      value <= maximum
    else {
      throw AttentionError(
        .invalidArgument, argument: "\(family) \(label)", value: text,
        advice: "must be a whole number of at least \(minimum) "
          + "and at most \(maximum)")
    }
    return value
  }
}

extension String {
  fileprivate var trimmed: String {
    let isSpace: (Character) -> Bool = { $0.isWhitespace }
    return String(drop(while: isSpace).reversed().drop(while: isSpace).reversed())
  }
}
