import AttentionBench
import Foundation
import Testing

/// What a sweep finds out about the machine, for real.
@Suite("A sweep and its machine", .serialized)
struct BusyMachineTests {
  @Test("A neighbour on the same core is told of, with numbers")
  func neighbour() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    // Another sweep on the first core it may use, which is where this one runs too. It ends when
    // this one has.
    let neighbour = try SweepProcess(
      [
        "sweep", "--n", "3000", "--strategy", "full,flash", "--threads", "1", "--rel-ci",
        "0.0001%", "--cell-timeout", "10m", "--budget", "10m",
      ], in: directory.root)
    neighbour.wait(forRows: 0)
    let other = try TemporaryDirectory()
    defer { other.remove() }
    let result = try SweepProcess.finish(
      ["sweep", "--n", "1000", "--strategy", "flash,window", "--threads", "1", "--rel-ci", "50%"],
      in: other.root)
    #expect(neighbour.end(with: SIGKILL) == -SIGKILL)
    #expect(result.code == 0, "\(result.error)")
    let warning = try #require(
      result.errorLines.first { $0.hasPrefix("warning: the machine was busy while n = 1000") })
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
        "--cell-timeout", "10s",
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
