import Glibc

/// What went wrong with a peer. The cell ends with it; the run goes on.
public enum PeerError: Error, Equatable, CustomStringConvertible {
  /// The program could not be started.
  case notStarted(program: String, errno: Int32)
  /// The process ended: its exit status, or the signal as a negative number.
  case ended(request: String, status: Int32)
  /// It gave no answer in time and was killed.
  case silent(request: String, seconds: Double)
  /// It said something that is no answer, and was killed.
  case garbled(request: String, said: String)
  /// It answered that it cannot.
  case refused(request: String, reason: String)
  /// Its output is not the function it is timed for.
  case wrong(String)
  /// The cell is none of the plan's.
  case unknownCell(String)

  /// What happened, during which request, and where more is to be found.
  public var description: String {
    switch self {
    case .notStarted(let program, let errno):
      "\(program) could not be started: \(String(cString: strerror(errno)))"
    case .ended(let request, let status):
      "the process ended during \(request) with "
        + (status < 0 ? "signal \(-status) (\(Self.signalName(-status)))" : "exit status \(status)")
        + "; see stderr.log"
    case .silent(let request, let seconds):
      "no answer to \(request) within \(Int(seconds.rounded(.up))) s (--wait); the process was killed"
    case .garbled(let request, let said):
      "the answer to \(request) is not of the protocol: \(said.prefix(200)); the process was killed"
    case .refused(let request, let reason): "\(request): \(reason)"
    case .wrong(let reason): reason
    case .unknownCell(let id): "\(id): not a cell of the plan that was made ready"
    }
  }

  private static func signalName(_ number: Int32) -> String { String(cString: strsignal(number)) }
}
