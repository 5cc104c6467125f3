/// What went wrong between ranks.
public enum MessagePassingError: Error, Equatable, CustomStringConvertible {
  /// MPI refused a call.
  case refused(call: String, text: String)
  /// A rank has said nothing, not even that it lives, for as long as the time limit allows.
  case silent(rank: Int, seconds: Double, waiting: String)
  /// All ranks live, but one has not moved on in four times the time limit.
  case overdue(rank: Int, seconds: Double, waiting: String)
  /// A message has more bytes than MPI counts.
  case tooLong(bytes: Int)

  public var description: String {
    switch self {
    case .refused(let call, let text):
      "MPI refused \(call): \(text)"
    case .silent(let rank, let seconds, let waiting):
      "rank \(rank) = silent for \(Self.text(seconds)) while \(waiting): a rank must answer within the "
        + "time limit; it has died, hangs or is stopped; see what became of it, or raise --time-limit"
    case .overdue(let rank, let seconds, let waiting):
      "rank \(rank) = alive, but has not moved on in \(Self.text(seconds)) while \(waiting): a rank must "
        + "within four times the time limit; it hangs, or has a piece of work that takes as long: "
        + "raise --time-limit"
    case .tooLong(let bytes):
      "message = \(bytes) bytes: MPI counts up to \(Int32.max); send it in parts"
    }
  }

  private static func text(_ seconds: Double) -> String {
    "\((seconds * 10).rounded() / 10) s"
  }
}
