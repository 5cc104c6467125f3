import AttentionBench
import Foundation
import MachineTopology
import Synchronization
import Testing

/// What a sweep finds out about the machine, for real, however fast it is and whatever else runs there.
@Suite("A sweep and its machine", .serialized)
struct BusyMachineTests {
  /// A thread of this process that never leaves the first core it may use, where a sweep's only worker runs
  /// too: the two take turns, and nothing the machine does makes that less.
  private final class Neighbour: TeamJob {
    private let isOver = Atomic(false)
    private let hasEnded = DispatchSemaphore(value: 0)

    func work(worker: Int) {
      while !isOver.load(ordering: .relaxed) {}
    }

    func begin() throws {
      let topology = try MachineTopology.host()
      let begun = DispatchSemaphore(value: 0)
      let failure = Mutex<(any Error)?>(nil)
      Thread {
        do {
          let team = try WorkerTeam(
            threads: 1, binding: .cores(topology.allowedCores.map(\.index)), topology: topology)
          begun.signal()
          team.run(self)
        } catch {
          failure.withLock { $0 = error }
          begun.signal()
        }
        self.hasEnded.signal()
      }.start()
      begun.wait()
      if let error = failure.withLock({ $0 }) { throw error }
    }

    func end() {
      isOver.store(true, ordering: .relaxed)
      hasEnded.wait()
    }
  }

  @Test("A neighbour on the same core is told of, with numbers")
  func neighbour() throws {
    let other = try TemporaryDirectory()
    defer { other.remove() }
    let neighbour = Neighbour()
    try neighbour.begin()
    defer { neighbour.end() }
    // As many runs as a cell gets: whatever one takes, together they last longer than a turn, and a median
    // that is wide enough for any spread would call every one of these cells steady.
    let result = try SweepProcess.finish(
      [
        "sweep", "--n", "500", "--strategy", "flash,window", "--threads", "1", "--rel-ci", "99%",
        "--min-samples", "200", "--cell-timeout", "1h", "--budget", "1h",
      ], in: other.root)
    #expect(result.code == 0, "\(result.error)")
    let warning = try #require(
      result.errorLines.first { $0.hasPrefix("warning: the machine was busy while n = 500") })
    #expect(warning.contains("FMA bursts got"), "\(warning)")
    #expect(warning.contains("Fix: "))
    // Kernels without this account show the bursts only.
    guard FileManager.default.fileExists(atPath: "/proc/self/schedstat") else { return }
    let rows = try RunDirectory.readResults(in: other.path("out")).rows
    #expect(rows.count == 2)
    for row in rows {
      #expect(row.status == .noisy, "\(row.cellID): \(row.reason)")
      #expect(row.reason.contains("threads waited"), "\(row.reason)")
    }
  }

  @Test("Every strategy's memory grows by what its plan declares")
  func memory() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let result = try SweepProcess.finish(
      [
        "sweep", "--n", "3000", "--heads", "2", "--min-samples", "1", "--rel-ci", "99%",
        "--cell-timeout", "1h", "--budget", "1h",
      ], in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(!result.error.contains("declares a workspace"), "\(result.error)")
    let rows = try RunDirectory.readResults(in: directory.path("out")).rows
      .filter(\.status.isMeasured)
    #expect(rows.count >= 5)
    let exact = try #require(rows.first { $0.strategy.name == "full" })
    let declared = try #require(exact.work.workspaceBytes)
    #expect(declared > 36_000_000)
    guard let measured = exact.work.peakRSSDeltaBytes else { return }
    #expect(abs(measured - declared) < declared / 10)
  }
}
