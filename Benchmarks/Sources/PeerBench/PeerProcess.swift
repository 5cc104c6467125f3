import Foundation
import PeerProtocol

/// A peer in a process of its own, started when it is first asked.
///
/// Between requests it is stopped (SIGSTOP), so that threads that wait by spinning, as those of ONNX
/// Runtime and OpenMP do for a while, take nothing from whoever's turn it is.
public final class PeerProcess {
  private let command: [String]
  private let places: [[Int]]
  private let log: String
  /// Seconds that any answer may take.
  var patience: Double
  private var child: ChildProcess?
  /// How long a process may take to end once it has been asked to.
  private static let endingSeconds = 5.0

  /// Describes a process; nothing is started yet.
  ///
  /// - Parameters:
  ///   - command: path and arguments.
  ///   - places: the CPUs of each thread it may use.
  ///   - log: the file that its standard error goes to.
  ///   - patience: seconds that any answer may take.
  public init(command: [String], places: [[Int]], log: String, patience: Double) {
    self.command = command
    self.places = places
    self.log = log
    self.patience = patience
  }

  deinit { quit() }

  /// The process's number; nil while there is none.
  var identifier: pid_t? { child?.identifier }

  /// Starts the process if need be, and asks who serves.
  public func hello() throws(PeerError) -> PeerHello {
    quit()
    child = try ChildProcess(command, log: log)
    return try exchange(.hello(places: places))
  }

  /// Sends one request and waits for the answer.
  ///
  /// - Throws: `PeerError`. After `refused` the process lives on; after the others it is gone, and
  ///   the next request starts another.
  public func ask<Answer: Decodable>(
    _ request: PeerRequest, for answer: Answer.Type = Answer.self
  ) throws(PeerError) -> Answer {
    if child == nil { _ = try hello() }
    return try exchange(request)
  }

  /// Ends the process, by force where asking does not help.
  public func quit() {
    guard let child else { return }
    self.child = nil
    child.resume()
    guard let line = try? PeerLine.encoded(PeerRequest(.quit)), child.send(line) else {
      child.kill()
      return
    }
    _ = child.endStatus(within: Self.endingSeconds)
  }

  private func exchange<Answer: Decodable>(_ request: PeerRequest) throws(PeerError) -> Answer {
    guard let child else { throw .ended(request: request.command.rawValue, status: 0) }
    let name = request.command.rawValue
    // Requests are made of text and numbers, which JSON always holds.
    guard let sent = try? PeerLine.encoded(request) else {
      throw .garbled(request: name, said: "a request that is no JSON")
    }
    child.resume()
    let heard = child.send(sent) ? child.line(within: patience) : .end
    guard case .line(let bytes) = heard else { throw lost(heard, during: name) }
    child.stop()
    let line = Data(bytes)
    if let refusal = try? PeerLine.decoded(line, as: PeerRefusal.self) {
      throw .refused(request: name, reason: refusal.error)
    }
    do {
      return try PeerLine.decoded(line)
    } catch {
      self.child = nil
      throw .garbled(request: name, said: String(decoding: bytes, as: UTF8.self))
    }
  }

  /// Gives a process up that said no line.
  private func lost(_ heard: ChildProcess.Heard, during request: String) -> PeerError {
    defer { child = nil }
    switch heard {
    case .end:
      let status = child?.endStatus(within: Self.endingSeconds) ?? 0
      return .ended(request: request, status: status)
    case .endless, .line: return .garbled(request: request, said: "a line without an end")
    case .silence: return .silent(request: request, seconds: patience)
    }
  }
}
