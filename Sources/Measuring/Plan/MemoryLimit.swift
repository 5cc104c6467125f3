import Records
import Statistics
import Units

/// The value of `--max-memory`: an amount, or a share of what the machine has available.
public enum MemoryLimit: Equatable, Sendable, CustomStringConvertible {
  /// A fixed amount.
  case bytes(ByteCount)
  /// A share of the memory available when the run starts.
  case available(Percent)

  /// Reads `4GiB` or `80%`.
  ///
  /// - Throws: `PlanError` that names `argument` when the text is neither.
  public init(parsing text: String, argument: String = "--max-memory") throws(PlanError) {
    if text.hasSuffix("%") {
      self = .available(try Percent(parsing: text, argument: argument))
    } else {
      self = .bytes(try ByteCount(parsing: text, argument: argument))
    }
  }

  /// The limit on a machine with `available` bytes to give.
  public func resolved(available: ByteCount) -> ByteCount {
    switch self {
    case .bytes(let count): return count
    case .available(let percent):
      // Rounding a count above 2^53 up could leave the range of Int; a limit may always be lower.
      let share = (Double(available.bytes) * percent.fraction).rounded(.down)
      return ByteCount(min(available.bytes, Int(exactly: share) ?? available.bytes))
    }
  }

  /// The text that parses back to the same limit.
  public var description: String {
    switch self {
    case .bytes(let count): count.description
    case .available(let percent): percent.description
    }
  }
}
