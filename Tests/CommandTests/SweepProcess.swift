import AttentionBench
import Foundation
import Testing

/// A sweep that runs beside the test, to be killed, interrupted and taken up again.
struct SweepProcess {
  /// Small, and with every kind of cell that does not depend on times: `exact` at 3000 needs more
  /// memory than it may have.
  static let options = [
    "sweep", "--n", "16,24,40,64,3000", "--heads", "1", "--head-dim", "16", "--strategy",
    "full,flash,window(8),linear", "--threads", "1", "--rel-ci", "90%", "--max-memory", "30MiB",
  ]

  let directory: String
  private let process = Process()

  /// Starts a sweep into `out` below a directory.
  ///
  /// - Parameter errors: the file that gets standard error.
  init(_ arguments: [String] = options, in directory: String, errors: String? = nil) throws {
    self.directory = directory
    process.executableURL = URL(fileURLWithPath: AttnbenchProcess.executable)
    process.arguments = arguments + ["-o", "out"]
    // Nowhere to look for gnuplot: pictures are not what is tested.
    process.environment = ["PATH": "/nowhere"]
    process.currentDirectoryURL = URL(fileURLWithPath: directory)
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    if let errors {
      try Data().write(to: URL(fileURLWithPath: errors))
      process.standardError = FileHandle(forWritingAtPath: errors)
    }
    try process.run()
  }

  /// Runs a sweep to its end.
  static func finish(
    _ arguments: [String] = options, in directory: String
  ) throws -> AttnbenchProcess.Result {
    try AttnbenchProcess.run(
      arguments + ["-o", "out"], environment: ["PATH": "/nowhere"], in: directory)
  }

  /// Sends a signal and waits for the end.
  ///
  /// - Returns: the exit code, or the negative signal that ended the process.
  func end(with number: Int32) -> Int32 {
    kill(process.processIdentifier, number)
    process.waitUntilExit()
    return process.terminationReason == .uncaughtSignal
      ? -process.terminationStatus : process.terminationStatus
  }

  /// Waits until so many rows are in the results, or the process has ended.
  func wait(forRows count: Int) {
    while process.isRunning, (Self.text(directory).count { $0 == "\n" }) <= count { usleep(500) }
  }

  private static func text(_ directory: String) -> String {
    (try? String(contentsOfFile: directory + "/out/results.csv", encoding: .utf8)) ?? ""
  }
}

/// What must hold of a directory of results at any moment.
struct KeptResults {
  let rows: [ResultRow]

  /// Reads a directory that a sweep has left, however it ended.
  init(in directory: String) throws {
    let out = directory + "/out"
    guard FileManager.default.fileExists(atPath: out + "/results.csv") else {
      rows = []
      return
    }
    rows = try RunDirectory.readResults(in: out).rows
    let hasSamples = FileManager.default.fileExists(atPath: out + "/samples.csv")
    #expect(hasSamples || rows.isEmpty)
    let samples = hasSamples ? try RecordFile<SampleRow>(reading: out + "/samples.csv").rows : []
    let metadata = FileManager.default.fileExists(atPath: out + "/meta.json")
    #expect(metadata || rows.isEmpty)
    let ceilings = metadata ? try RunDirectory.readMetadata(in: out).ceilings ?? [] : []
    for (cell, all) in Dictionary(grouping: samples, by: \.cellID) {
      #expect(all.map(\.index) == Array(0..<all.count), "\(cell)")
    }
    for row in rows where row.status.isMeasured {
      let own = samples.filter { $0.cellID == row.cellID }.suffix(row.time.samples)
      #expect(SampleSummary(own.map(\.time))?.median == row.time.median, "\(row.cellID)")
      #expect(ceilings.contains { $0.n == row.shape.queryLength && $0.threads == 1 })
    }
  }

  /// Everything about the settled cells that does not depend on the time they took.
  var timeless: [String: [String]] {
    var cells: [String: [String]] = [:]
    for row in rows where row.status.isMeasured || row.status == .skippedMemory {
      let status = row.status.isMeasured ? "measured" : row.status.rawValue
      cells[row.cellID] =
        [status, "\(row.strategy)", "\(row.shape)", "\(row.placement)", "\(row.accuracy)"]
        + ["\(row.work.pairs ?? -1)", "\(row.work.flops ?? -1)"]
        + ["\(row.work.minimumBytes ?? -1)", "\(row.work.workspaceBytes ?? -1)", "\(row.build)"]
    }
    return cells
  }
}
