/// What went wrong with an attention problem, a strategy or a set of tensors.
///
/// The description names the argument, its value, the rule it breaks and the fix.
public struct AttentionError: Error, Equatable, CustomStringConvertible {
  /// The kind of failure, for programs that react to it.
  public enum Kind: Sendable, Equatable {
    /// An argument has a value outside its range.
    case invalidArgument
    /// A tensor's shape or strides do not fit the problem.
    case shapeMismatch
    /// The problem's sizes overflow what the library can address.
    case tooLarge
    /// Memory for the workspace or a tensor was refused by the system.
    case outOfMemory
    /// A key/value cache or its pool of pages has no room for the rows to append.
    case capacityExhausted
    /// An element that has to be a finite number is not: 8-bit integers know no NaN or infinity.
    case notFinite
    /// A strategy name or parameter is not known.
    case unknownStrategy
  }

  /// The kind of failure.
  public let kind: Kind
  /// The argument at fault, as the caller knows it: `heads`, `scale`, `window`.
  public let argument: String
  /// Its value, printed.
  public let value: String
  /// The rule it breaks and how to mend it.
  public let advice: String

  /// Creates an error about `argument`, whose `value` breaks a rule that `advice` states.
  public init(_ kind: Kind, argument: String, value: some CustomStringConvertible, advice: String) {
    self.kind = kind
    self.argument = argument
    self.value = value.description
    self.advice = advice
  }

  public var description: String {
    kind == .unknownStrategy
      ? "unknown \(argument) '\(value)'; \(advice)" : "\(argument) = \(value): \(advice)"
  }
}
