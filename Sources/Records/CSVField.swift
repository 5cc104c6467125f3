import Attention
import Statistics
import Units

/// A value that one CSV cell can hold.
public protocol CSVField: SendableMetatype {
  /// What the cell must hold, for messages: `a whole number`.
  static var csvExpectation: String { get }
  /// The value in the text of a cell; nil when the text is something else.
  init?(csvText: String)
  /// The text of the cell, not yet quoted.
  var csvText: String { get }
}

extension String: CSVField {
  /// Any text will do.
  public static var csvExpectation: String { "text" }
  /// Takes the text as it is.
  public init?(csvText: String) { self = csvText }
  /// The text as it is.
  public var csvText: String { self }
}

extension Int: CSVField {
  /// Digits with an optional sign.
  public static var csvExpectation: String { "a whole number" }
  /// Reads digits with an optional sign.
  public init?(csvText: String) { self.init(csvText) }
  /// Digits with an optional sign.
  public var csvText: String { description }
}

extension Double: CSVField {
  /// A number in any of the usual notations.
  public static var csvExpectation: String { "a number" }
  /// Reads decimal and exponent notation.
  public init?(csvText: String) { self.init(csvText) }
  /// The shortest text that reads back as the same number.
  public var csvText: String { description }
}

extension Bool: CSVField {
  /// The two words.
  public static var csvExpectation: String { "true or false" }
  /// Reads `true` and `false`.
  public init?(csvText: String) { self.init(csvText) }
  /// `true` or `false`.
  public var csvText: String { description }
}

/// Words are written as their raw values.
extension CSVField where Self: RawRepresentable & CaseIterable, RawValue == String {
  public static var csvExpectation: String {
    "one of " + allCases.map(\.rawValue).joined(separator: ", ")
  }
  public init?(csvText: String) { self.init(rawValue: csvText) }
  public var csvText: String { rawValue }
}

extension Status: CSVField {}
extension Arithmetic: CSVField {}
extension AttentionPass: CSVField {}

/// A figure that was not taken is an empty cell, never a 0.
extension Optional: CSVField where Wrapped: CSVField {
  /// As for the value itself, or nothing.
  public static var csvExpectation: String { Wrapped.csvExpectation + " or nothing" }
  /// An empty cell is nil.
  public init?(csvText: String) {
    if csvText.isEmpty {
      self = Optional<Wrapped>.none
    } else if let value = Wrapped(csvText: csvText) {
      self = Optional<Wrapped>.some(value)
    } else {
      return nil
    }
  }
  /// Empty when there is no value.
  public var csvText: String { self?.csvText ?? "" }
}
