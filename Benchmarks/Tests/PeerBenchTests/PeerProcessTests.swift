import Foundation
import Glibc
import PeerProtocol
import Testing

@testable import PeerBench

/// A process at the other end of the line that answers, or does not.
struct PeerProcessTests {
  private func state(of process: PeerProcess) -> String? {
    process.identifier.flatMap { id in
      try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8)
    }.flatMap { text in
      text.split(separator: ")").last?.split(separator: " ").first.map(String.init)
    }
  }

  private func isGone(_ identifier: pid_t) -> Bool { kill(identifier, 0) != 0 && errno == ESRCH }

  private var work: PeerCase {
    PeerCase(
      strategy: "flash", heads: 1, kvHeads: 1, nQ: 1, nKv: 1, headDim: 1, valueDim: 1,
      causal: false, dtype: "fp32", threads: 1)
  }

  @Test func itIsStoppedBetweenRequests() throws {
    let folder = try ScratchFolder()
    let process = PeerProcess.fake("none", folder)
    #expect(try process.hello() == PeerHello(library: "fake", version: "1.0"))
    #expect(state(of: process) == "T")
    let times: PeerTimes = try process.ask(.run(warm: 0, repeats: 2))
    #expect(times.wallNs == [2_000_000, 2_000_000])
    #expect(state(of: process) == "T")
  }

  @Test func aRefusalIsToldAndTheProcessLivesOn() throws {
    let folder = try ScratchFolder()
    let process = PeerProcess.fake("refuses", folder)
    #expect(
      throws: PeerError.refused(request: "prepare", reason: "NotImplementedError: not today")
    ) {
      let _: PeerPrepared = try process.ask(.prepare(work, operands: [:]))
    }
    let identifier = process.identifier
    let _: PeerTimes = try process.ask(.run(warm: 0, repeats: 1))
    #expect(identifier != nil && process.identifier == identifier)
  }

  @Test(arguments: [("dies", Int32(3)), ("aborts", -SIGABRT)])
  func anEndIsToldWithItsStatusAndTheNextRequestStartsAnother(fault: String, status: Int32) throws {
    let folder = try ScratchFolder()
    let process = PeerProcess.fake(fault, folder)
    #expect(throws: PeerError.ended(request: "prepare", status: status)) {
      let _: PeerPrepared = try process.ask(.prepare(work, operands: [:]))
    }
    #expect(process.identifier == nil)
    let _: PeerTimes = try process.ask(.run(warm: 0, repeats: 1))
    #expect(process.identifier != nil)
    if fault == "dies" {
      #expect(try String(contentsOfFile: folder.log, encoding: .utf8) == "the last words\n")
    }
  }

  @Test func aSilentProcessIsKilledWhenItsTimeIsOver() throws {
    let folder = try ScratchFolder()
    let process = PeerProcess.fake("hangs", folder)
    _ = try process.hello()
    process.patience = 0.5
    let identifier = try #require(process.identifier)
    #expect(throws: PeerError.silent(request: "prepare", seconds: 0.5)) {
      let _: PeerPrepared = try process.ask(.prepare(work, operands: [:]))
    }
    #expect(isGone(identifier))
  }

  @Test(arguments: ["chatters", "babbles"])
  func whatIsNoAnswerEndsTheProcess(fault: String) throws {
    let folder = try ScratchFolder()
    let process = PeerProcess.fake(fault, folder)
    _ = try process.hello()
    let identifier = try #require(process.identifier)
    let error = #expect(throws: PeerError.self) {
      let _: PeerPrepared = try process.ask(.prepare(work, operands: [:]))
    }
    guard case .garbled(request: "prepare", let said) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(said == (fault == "chatters" ? "Loading model ..." : "a line without an end"))
    #expect(isGone(identifier))
  }

  @Test func aProgramThatIsNotThereIsNamed() throws {
    let folder = try ScratchFolder()
    let process = PeerProcess(
      command: ["/nowhere/peer"], places: [[0]], log: folder.log, patience: 10)
    #expect(throws: PeerError.notStarted(program: "/nowhere/peer", errno: ENOENT)) {
      try process.hello()
    }
  }

  @Test(arguments: ["none", "stubborn"])
  func nothingIsLeftOfItAtTheEnd(fault: String) throws {
    let folder = try ScratchFolder()
    var process: PeerProcess? = .fake(fault, folder)
    _ = try process?.hello()
    let identifier = try #require(process?.identifier)
    process = nil
    #expect(isGone(identifier))
  }
}
