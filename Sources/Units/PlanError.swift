import Attention

/// An argument of the sweep plan that cannot be used: which one, what it said, the rule it broke
/// and what to write instead.
public struct PlanError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The option as the user typed it, for example `--n`.
  public let argument: String
  /// The offending part of the value, for example `5k..1k`.
  public let value: String
  /// The rule that the value breaks.
  public let rule: String
  /// What to write instead.
  public let fix: String

  public init(argument: String, value: String, rule: String, fix: String) {
    self.argument = argument
    self.value = value
    self.rule = rule
    self.fix = fix
  }

  /// One line: `--n 5k..1k: the range runs downwards; write 1k..5k`.
  public var description: String {
    let needsQuotes = value.isEmpty || value.contains(where: \.isWhitespace)
    return "\(argument) \(needsQuotes ? "'\(value)'" : value): \(rule); \(fix)"
  }
}
