import AttentionBench
import Dispatch
import Foundation

/// Turns Ctrl-C and `kill` into a request to stop: the first lets the run under way finish and keeps
/// every result, the second leaves at once, which loses nothing that was kept.
final class InterruptSignals {
  private static let numbers = [SIGINT, SIGTERM]
  private let sources: [any DispatchSourceSignal]

  /// Listens until `restore` is called. Make it before any thread is bound to a core: the thread
  /// that listens inherits the binding of the one that makes it.
  init(_ stop: StopFlag) {
    sources = Self.numbers.map { number in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler {
        if stop.raise() { _exit(CommandExit.interrupted.rawValue) }
        Terminal.say("\ninterrupted: finishing the run under way; once more leaves at once")
      }
      source.resume()
      return source
    }
  }

  /// Gives the signals their usual effect back; programs that are started inherit it.
  func restore() {
    for source in sources { source.cancel() }
    for number in Self.numbers { signal(number, SIG_DFL) }
  }
}
