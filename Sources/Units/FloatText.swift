/// A number with a fraction as the command line and files' metadata write it, in fp32: `0.125`, `-1e-3`.
public enum FloatText {
  /// Why a text is no such number.
  public enum Fault: Error, Equatable, Sendable {
    /// It is no number at all.
    case noNumber
    /// It is a finite number, and fp32 has none as large; an infinity is infinite only where it is typed.
    case tooLarge(isNegative: Bool)
    /// It is not 0, and fp32 has nothing between it and 0.
    case tooSmall

    /// The rule that the text breaks.
    public var rule: String {
      switch self {
      case .noNumber: "this is no number"
      case .tooLarge:
        "must be a number of fp32, in which it is computed, and those end at "
          + "\(Float.greatestFiniteMagnitude)"
      case .tooSmall:
        "must be a number of fp32, in which it is computed, and those end at "
          + "\(Float.leastNonzeroMagnitude) before 0"
      }
    }

    /// What to write instead.
    public var fix: String {
      switch self {
      case .noNumber: "write for example 0.125"
      case .tooLarge: "write a smaller one"
      case .tooSmall: "write a larger one, or 0"
      }
    }
  }

  /// Reads one number; `inf` and `nan` are taken as typed, whoever uses them says whether they may be.
  public static func parse(_ text: some StringProtocol) throws(Fault) -> Float {
    guard let value = Float(String(text)) else { throw .noNumber }
    if value.isInfinite, !text.lowercased().contains("inf") {
      throw .tooLarge(isNegative: value < 0)
    }
    if value == 0, !text.lowercased().contains("x"),
      text.prefix(while: { $0 != "e" && $0 != "E" }).contains(where: { ("1"..."9").contains($0) })
    {
      throw .tooSmall
    }
    return value
  }
}
