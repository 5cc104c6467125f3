import Foundation
import Testing

@Suite("attnbench compare")
struct CompareCommandTests {
  private enum Sweeps {
    /// Copies a sweep with the times of the samples of some cells multiplied and cut short.
    static func copy(
      _ source: String, to target: String, factor: Double = 1, cells: String = "",
      samples: Int = .max
    ) throws {
      let manager = FileManager.default
      try manager.createDirectory(atPath: target, withIntermediateDirectories: true)
      for name in ["results.csv", "meta.json"] {
        try manager.copyItem(atPath: "\(source)/\(name)", toPath: "\(target)/\(name)")
      }
      let text = try String(contentsOfFile: source + "/samples.csv", encoding: .utf8)
      let lines = text.split(separator: "\n")
      let changed = lines.dropFirst().compactMap { line -> String? in
        var fields = line.split(separator: ",").map(String.init)
        guard let index = Int(fields[2]), let time = Double(fields[4]), index < samples else {
          return nil
        }
        if fields[1].hasPrefix(cells) { fields[4] = "\(time * factor)" }
        return fields.joined(separator: ",")
      }
      let all = ([String(lines[0])] + changed).joined(separator: "\n") + "\n"
      try all.write(toFile: target + "/samples.csv", atomically: true, encoding: .utf8)
    }
  }

  /// A run folder of this repository's, so that real samples are compared and none are taken.
  private static let recorded = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appending(path: "../Fixtures/sweep").standardized.path

  private func compare(
    _ arguments: [String], factor: Double = 1, cells: String = "", samples: Int = .max
  ) throws -> AttnbenchProcess.Result {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try Sweeps.copy(Self.recorded, to: directory.path("before"))
    try Sweeps.copy(
      Self.recorded, to: directory.path("after"), factor: factor, cells: cells, samples: samples)
    return try AttnbenchProcess.run(
      ["compare", "before", "after"] + arguments, in: directory.root)
  }

  @Test("the same folder is no regression: exit code 0")
  func same() throws {
    let result = try compare([])
    #expect(result.code == 0, "\(result.error)")
    #expect(result.line(0).hasPrefix("A  before  20261121T002350Z-534c, commit 57e18b56fa"))
    #expect(
      result.outputLines.contains { $0.hasPrefix("window_512-n1000-t2 ") && $0.contains("SAME") })
    #expect(result.outputLines.last?.hasPrefix("no regression: ") == true)
    #expect(!result.output.contains("SLOWER") && !result.output.contains("FASTER"))
    #expect(result.errorLines == ["warning: A and B hold the same run, 20261121T002350Z-534c"])
  }

  @Test("ten percent slower is a regression: exit code 2")
  func slower() throws {
    let result = try compare([], factor: 1.1)
    #expect(result.code == 2, "\(result.error)")
    #expect(result.outputLines.last?.hasPrefix("regression: ") == true)
    #expect(result.error.contains("--repeat-a"))
    let faster = try compare([], factor: 1 / 1.1)
    #expect(faster.code == 0)
    #expect(faster.output.contains("FASTER") && !faster.output.contains("SLOWER"))
  }

  @Test("less than --min-effect is none")
  func minimumEffect() throws {
    #expect(try compare(["--min-effect", "20%"], factor: 1.1).code == 0)
    #expect(try compare(["--min-effect", "20%"], factor: 1.3, cells: "flash").code == 2)
  }

  @Test("two samples a cell are unclear: exit code 0")
  func fewSamples() throws {
    let result = try compare([], factor: 2, samples: 2)
    #expect(result.code == 0)
    #expect(result.output.contains("and 2 samples are too few: it takes 4 and 4"))
    #expect(result.outputLines.last == "no regression: 48 UNCLEAR")
  }

  @Test("--json holds the same for programs")
  func json() throws {
    struct Document: Decodable {
      struct Cell: Decodable {
        let cell_id: String
        let verdict: String
        let ratio: Double?
        let ratio_ci95: [Double]?
      }
      let regression: Bool
      let counts: [String: Int]
      let warnings: [String]
      let cells: [Cell]
    }
    let result = try compare(["--json", "--metric", "pct_of_peak"], factor: 1.2, cells: "flash")
    #expect(result.code == 2)
    let document = try JSONDecoder().decode(Document.self, from: Data(result.output.utf8))
    #expect(document.regression)
    #expect(document.cells.count == 48)
    #expect(document.counts.values.reduce(0, +) == 48)
    #expect(document.warnings.count == 1)
    let cell = try #require(document.cells.first { $0.cell_id == "flash-n8000-t2" })
    #expect(cell.verdict == "SLOWER")
    #expect(abs((cell.ratio ?? 0) - 1.2) < 1e-9)
    #expect(cell.ratio_ci95?.count == 2)
  }

  @Test("several runs a side must agree")
  func repeats() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    for (name, factor) in [("a1", 1.0), ("a2", 1.12), ("b1", 1.1), ("b2", 1.11)] {
      try Sweeps.copy(Self.recorded, to: directory.path(name), factor: factor)
    }
    let alone = try AttnbenchProcess.run(["compare", "a1", "b1"], in: directory.root)
    #expect(alone.code == 2)
    let confirmed = try AttnbenchProcess.run(
      ["compare", "a1", "b1", "--repeat-b", "b2"], in: directory.root)
    #expect(confirmed.code == 2)
    let doubted = try AttnbenchProcess.run(
      ["compare", "a1", "b1", "--repeat-a", "a2", "--repeat-b", "b2"], in: directory.root)
    #expect(doubted.code == 0, "\(doubted.output)")
    #expect(doubted.output.contains("of 4 pairs of runs 2 SLOWER, 2 SAME"))
  }

  @Test("folders that cannot be compared: one line, exit code 1")
  func unreadable() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let missing = try AttnbenchProcess.run(["compare", Self.recorded, "none"], in: directory.root)
    #expect(missing.code == 1 && missing.errorLines.count == 1)
    #expect(missing.error.contains("none/results.csv"))
    try Sweeps.copy(Self.recorded, to: directory.path("foreign"))
    for name in ["results.csv", "samples.csv"] {
      let path = directory.path("foreign/" + name)
      // Every cell under another name.
      try String(contentsOfFile: path, encoding: .utf8).replacing("-t2,", with: "-t9,")
        .write(toFile: path, atomically: true, encoding: .utf8)
    }
    let foreign = try AttnbenchProcess.run(
      ["compare", Self.recorded, "foreign"], in: directory.root)
    #expect(foreign.code == 1)
    #expect(foreign.errorLines.last?.contains("have no cell in common") == true)
    #expect(foreign.output.isEmpty)
  }
}
