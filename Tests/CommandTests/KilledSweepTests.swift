import AttentionBench
import Foundation
import Testing

/// Nothing that was measured is lost, however a sweep ends.
@Suite("Sweeps cut short", .serialized)
struct KilledSweepTests {
  private static let kills = 20

  @Test("Killed at random moments, every finished cell stays and the rest follows")
  func killed() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let began = Date()
    #expect(try SweepProcess.finish(in: directory.root).code == 0)
    let duration = Date().timeIntervalSince(began)
    let whole = try KeptResults(in: directory.root)
    #expect(whole.timeless.count == 20)
    #expect(whole.rows.contains { $0.status == .skippedMemory })

    var generator = SeededGenerator(seed: 4)
    var round = try TemporaryDirectory()
    var kept: [ResultRow] = []
    var (killed, resumed, attempts) = (0, 0, 0)
    while killed < Self.kills, attempts < 20 * Self.kills {
      attempts += 1
      let hasBegun = FileManager.default.fileExists(atPath: round.path("out/results.csv"))
      let arguments = SweepProcess.options + (hasBegun ? ["--resume"] : [])
      let sweep = try SweepProcess(arguments, in: round.root)
      if Bool.random(using: &generator) {
        usleep(UInt32(Double.random(in: 0...min(duration, 1), using: &generator) * 1e6))
      } else {
        // Among the cells, however slow the machine is just now.
        sweep.wait(forRows: kept.count + Int.random(in: 0...4, using: &generator))
        usleep(UInt32.random(in: 0...20_000, using: &generator))
      }
      let code = sweep.end(with: SIGKILL)
      #expect(code == -SIGKILL || code == 0)
      if code == -SIGKILL { killed += 1 }
      if hasBegun { resumed += 1 }
      let found = try KeptResults(in: round.root)
      #expect(found.rows.starts(with: kept))
      kept = found.rows
      if code == 0 {
        #expect(found.timeless == whole.timeless)
        round.remove()
        round = try TemporaryDirectory()
        kept = []
      } else {
        try tear(round, using: &generator)
      }
    }
    defer { round.remove() }
    #expect(killed == Self.kills)
    #expect(resumed > 0)

    let last = try SweepProcess.finish(SweepProcess.options + ["--resume"], in: round.root)
    #expect(last.code == 0, "\(last.error)")
    let found = try KeptResults(in: round.root)
    #expect(found.rows.starts(with: kept))
    #expect(found.timeless == whole.timeless)
    #expect(try RunDirectory.readResults(in: round.path("out")).notes.isEmpty)
    let names = try FileManager.default.contentsOfDirectory(atPath: round.path("out"))
    #expect(!names.contains { $0.hasSuffix(".partial") || $0.hasSuffix(".old") })
  }

  /// What a kill inside a system call would leave: the first bytes of a line, or a file that was to
  /// replace another.
  private func tear(
    _ directory: TemporaryDirectory, using generator: inout SeededGenerator
  ) throws {
    for name in ["results.csv", "samples.csv"] where Bool.random(using: &generator) {
      let path = URL(fileURLWithPath: directory.path("out/" + name))
      guard let data = try? Data(contentsOf: path), let end = data.firstIndex(of: 10) else {
        continue
      }
      let line = data[..<end]
      try (data + line.prefix(Int.random(in: 1..<line.count, using: &generator))).write(to: path)
    }
    if FileManager.default.fileExists(atPath: directory.path("out")) {
      let left = "out/.meta.json.attnbench-0000000000007.partial"
      try Data("{".utf8).write(to: URL(fileURLWithPath: directory.path(left)))
    }
  }

  /// Enough samples that there is something to interrupt.
  private static let longer =
    [
      "sweep", "--n", "200,400,600", "--heads", "1", "--strategy", "full,flash,linear",
      "--threads", "1", "--rel-ci", "0.001%", "--seed", "2",
    ]

  @Test(
    "Ctrl-C and kill keep the results, leave with 130, and a resume goes on", arguments: [2, 15])
  func interrupted(signal: Int32) throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let errors = directory.path("errors")
    let sweep = try SweepProcess(Self.longer, in: directory.root, errors: errors)
    sweep.wait(forRows: 1)
    #expect(sweep.end(with: signal) == 130)
    let said = try String(contentsOfFile: errors, encoding: .utf8)
    #expect(said.contains("interrupted; --resume -o out goes on"), "\(said)")
    let kept = try KeptResults(in: directory.root)
    #expect(!kept.rows.isEmpty && kept.timeless.count < 9)
    #expect(try !RunDirectory.readMetadata(in: directory.path("out")).completed)

    let result = try SweepProcess.finish(Self.longer + ["--resume"], in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    let found = try KeptResults(in: directory.root)
    #expect(found.rows.starts(with: kept.rows))
    #expect(found.timeless.count == 9)
    #expect(try RunDirectory.readMetadata(in: directory.path("out")).completed)
  }

  @Test("A full disk is named, what was written stays, and a resume goes on")
  func fullDisk() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    // In blocks of 512 bytes, of which a sample takes about 100: room for the most samples of one cell
    // (200), whatever else the machine does, and not for the fewest of all.
    let options = SweepProcess.options + ["--min-samples", "60"]
    let arguments = options.map { "'\($0)'" }.joined(separator: " ")
    let result = try AttnbenchProcess.shell(
      "ulimit -f 48; PATH=/nowhere \"$A\" \(arguments) -o out", in: directory.root)
    #expect(result.code == 1)
    let last = try #require(result.errorLines.last)
    #expect(last.hasPrefix("error: cannot write to out/samples.csv: File too large; "), "\(last)")
    #expect(last.contains("--resume"))
    let kept = try KeptResults(in: directory.root)
    #expect(!kept.rows.isEmpty && kept.timeless.count < 20)
    let resumed = try SweepProcess.finish(options + ["--resume"], in: directory.root)
    #expect(resumed.code == 0, "\(resumed.error)")
    let found = try KeptResults(in: directory.root)
    #expect(found.rows.starts(with: kept.rows))
    #expect(found.timeless.count == 20)
  }

  @Test("Two sweeps cannot write one directory")
  func inUse() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let sweep = try SweepProcess(Self.longer, in: directory.root)
    sweep.wait(forRows: 0)
    let second = try SweepProcess.finish(Self.longer + ["--resume"], in: directory.root)
    #expect(second.code == 1)
    #expect(second.error.contains("is being written by another attnbench"), "\(second.error)")
    #expect(sweep.end(with: SIGKILL) == -SIGKILL)
    _ = try KeptResults(in: directory.root)
  }
}
