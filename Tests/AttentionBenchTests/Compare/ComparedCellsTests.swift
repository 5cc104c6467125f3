import AttentionBench
import Foundation
import Testing

/// Which cells are compared, and what other than time is a finding.
@Suite("Cells of two runs")
struct ComparedCellsTests {
  private static let times = (0..<8).map { index -> Double in 1 + Double(index * 3 % 8) / 1000 }

  private func compare(
    _ a: ResultRow, _ b: ResultRow, rules: ComparisonRules = ComparisonRules()
  ) throws -> Comparison {
    func sweep(_ row: ResultRow) -> RecordedSweep {
      RecordedSweep(cells: [.init(row, times: row.status.isMeasured ? Self.times : [])])
    }
    return try RecordedSweep.compare(sweep(a), sweep(b), rules: rules)
  }

  @Test("What B can no longer do is lost, what it skipped is unclear")
  func notMeasured() throws {
    let cases: [(Status, Status, Verdict, String)] = [
      (.ok, .error, .lost, "measured in A, not in B: error (why)"),
      (.noisy, .timeout, .lost, "measured in A, not in B: timeout (why)"),
      (.ok, .wrong, .wrong, "wrong in B: why"),
      (.skippedTime, .wrong, .wrong, "wrong in B: why"),
      (.wrong, .ok, .unclear, "measured in B, not in A: wrong (why)"),
      (.wrong, .wrong, .unclear, "measured in neither: wrong (why)"),
      (.ok, .skippedTime, .unclear, "measured in A, not in B: skipped_time (why)"),
      (.ok, .skippedMemory, .unclear, "measured in A, not in B: skipped_memory (why)"),
      (.ok, .interrupted, .unclear, "measured in A, not in B: interrupted (why)"),
      (.error, .ok, .unclear, "measured in B, not in A: error (why)"),
      (.error, .error, .unclear, "measured in neither: error (why)"),
    ]
    for (before, after, verdict, reason) in cases {
      let found = try compare(
        .measured(status: before, reason: before.isMeasured ? "" : "why"),
        .measured(status: after, reason: after.isMeasured ? "" : "why"))
      #expect(found.cells.map(\.verdict) == [verdict], "\(before) \(after)")
      #expect(found.cells[0].reason == reason)
      #expect(found.hasRegression == (verdict == .lost || verdict == .wrong))
    }
  }

  @Test("An output that left its definition is wrong, whatever it takes")
  func wrong() throws {
    let cases: [(Double?, Double?, Verdict)] = [
      (3e-7, 2e-3, .wrong), (3e-7, .nan, .wrong), (3e-7, 3e-6, .wrong), (3e-7, 1.5e-6, .same),
      (1e-3, 3e-3, .same), (1e-3, 5e-3, .wrong), (2e-3, 3e-7, .same), (nil, 2e-3, .same),
      (3e-7, nil, .same),
    ]
    for (before, after, verdict) in cases {
      var (a, b) = (ResultRow.measured(), ResultRow.measured())
      a.accuracy.oracleRelativeL2 = before
      b.accuracy.oracleRelativeL2 = after
      let comparison = try compare(a, b)
      #expect(comparison.cells[0].verdict == verdict, "\(before ?? -1) \(after ?? -1)")
      #expect(comparison.hasRegression == (verdict == .wrong))
    }
  }

  @Test("The peak of the same run divides out a clock")
  func peak() throws {
    var (a, b) = (ResultRow.measured(), ResultRow.measured())
    // 400 and 360 GFLOP/s: B's clock was lower by a tenth.
    (a.work.gflopPerSecond, a.work.percentOfPeak) = (200, 50)
    (b.work.gflopPerSecond, b.work.percentOfPeak) = (180, 50)
    let slow = RecordedSweep(cells: [.init(b, times: Self.times.map { $0 / 0.9 })])
    let normal = RecordedSweep(cells: [.init(a, times: Self.times)])
    let byTime = try RecordedSweep.compare(normal, slow)
    #expect(byTime.count(.slower) == 1)
    #expect(
      byTime.cautions.contains(
        "different FMA peak of 2 threads: 400 and 360 GFLOP/s at n = 1k (-10.0%); the machine was "
          + "not in the same state; --metric pct_of_peak divides it out"))
    var rules = ComparisonRules()
    rules.metric = .percentOfPeak
    let byPeak = try RecordedSweep.compare(normal, slow, rules: rules)
    #expect(byPeak.count(.same) == 1)
    b.work.percentOfPeak = nil
    let unknown = try compare(a, b, rules: rules)
    #expect(unknown.cells[0].reason == "no FMA peak was measured beside it in B")
  }

  @Test("Cells are the same work, not the same name")
  func matching() throws {
    let a = ResultRow.measured()
    var b = ResultRow.measured()
    b.shape.heads = 8
    let comparison = try compare(a, b)
    #expect(comparison.cells.isEmpty)
    #expect(comparison.onlyInA == comparison.a.rows && comparison.onlyInB == comparison.b.rows)
    #expect(
      comparison.cautions.contains { $0.hasPrefix("1 cell is another problem in A than in B") })
  }

  @Test("Of a cell measured twice the later row counts, with the samples of both sittings")
  func resumed() throws {
    let row = ResultRow.measured()
    var interrupted = row
    interrupted.status = .interrupted
    let whole = RecordedSweep(cells: [.init(row, times: Self.times)])
    let sittings = RecordedSweep(cells: [
      .init(interrupted, times: Array(Self.times.prefix(2))),
      .init(row, times: Array(Self.times.dropFirst(2))),
    ])
    let comparison = try RecordedSweep.compare(whole, sittings)
    #expect(comparison.cells.map(\.b.samples) == [8])
    #expect(comparison.cells.map(\.verdict) == [.same])
    #expect(comparison.cells[0].change?.ratio == 1)
  }

  @Test("Torn last lines are noted; without samples there is nothing to compare")
  func damaged() throws {
    try withTemporaryDirectory { path in
      try RecordedSweep(cells: [.init(.measured(), times: Self.times)]).write(to: path)
      for name in ["results.csv", "samples.csv"] {
        let file = URL(fileURLWithPath: "\(path)/\(name)")
        try (Data(contentsOf: file) + Data("1,torn".utf8)).write(to: file)
      }
      let run = try RecordedRun(reading: path)
      #expect(run.rows.count == 1)
      #expect(run.times(of: run.rows[0]) == Self.times)
      #expect(run.notes.count == 3)
      #expect(run.notes.filter { $0.contains("torn last line of 6 bytes") }.count == 2)
      #expect(run.notes[2].contains("meta.json"))
      try FileManager.default.removeItem(atPath: path + "/samples.csv")
      #expect(throws: RecordError.self) { try RecordedRun(reading: path) }
    }
  }

  @Test("Another machine, kernel, instruction set and other inputs are said")
  func cautions() throws {
    try withTemporaryDirectory { path in
      for name in ["a", "b"] {
        let isOther = name == "b"
        var row = ResultRow.measured()
        row.placement.bind = isOther ? "none" : "core:0-1"
        let directory = try RunDirectory(path: "\(path)/\(name)", resuming: false)
        try directory.append(row)
        try directory.write(Self.metadata(isOther: isOther))
      }
      let comparison = Comparison(
        try RecordedRun(reading: path + "/a"), try RecordedRun(reading: path + "/b"))
      #expect(
        comparison.cautions.dropFirst() == [
          "different machine: here (CPU, 2 cores, 2 hardware threads) in A, there (CPU, 4 cores, "
            + "2 hardware threads) in B",
          "different governor: unknown in A, performance in B",
          "different BLAS: OpenBLAS with its SkylakeX kernel in A, OpenBLAS with its Haswell kernel "
            + "in B",
          "different instruction set: avx512 in A, avx2 in B",
          "different inputs: no --inputs in A, --inputs x.safetensors in B",
          "different binding of 2 threads: core:0-1 in A, none in B",
        ])
    }
  }

  private static func metadata(isOther: Bool) -> RunMetadata {
    RunMetadata(
      runID: "r1", argv: [], options: isOther ? ["--inputs": "x.safetensors"] : [:], seed: 1,
      toolVersion: "1", build: .init(commit: nil, dirty: nil, compiler: "", compilerFlags: ""),
      blas: .init(
        library: "OpenBLAS", config: "", core: isOther ? "Haswell" : "SkylakeX", threads: 1,
        environmentNote: nil),
      isaCompiled: [], isaChosen: isOther ? "avx2" : "avx512",
      machine: .init(
        hostname: isOther ? "there" : "here", system: "", cpuModel: "CPU", cores: isOther ? 4 : 2,
        hardwareThreads: 2, caches: [], topologySummary: "", memoryTotalBytes: 1,
        memoryAvailableBytes: 1, cgroupMemoryBytes: nil, cgroupCPUs: nil,
        governor: isOther ? "performance" : nil),
      loadBefore: nil, startedAt: Date(timeIntervalSince1970: 0))
  }
}
