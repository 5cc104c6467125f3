import Foundation
import Testing

@Suite("Exponents, crossovers and predictions on the command line")
struct ScalingCommandTests {
  private static let names = ["fits.csv", "slopes.csv", "crossovers.csv", "predictions.csv"]

  /// The rows and samples of the measured run that is part of the sources.
  private func measuredRun() throws -> TemporaryDirectory {
    let directory = try TemporaryDirectory()
    let run = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Fixtures/sweep")
    try FileManager.default.createDirectory(
      atPath: directory.path("run"), withIntermediateDirectories: true)
    for name in ["results.csv", "samples.csv", "meta.json"] {
      try FileManager.default.copyItem(
        atPath: run.appending(path: name).path, toPath: directory.path("run/" + name))
    }
    return directory
  }

  private func files(_ directory: TemporaryDirectory, _ folder: String) throws -> [Data] {
    try Self.names.map {
      try Data(contentsOf: URL(fileURLWithPath: directory.path("\(folder)/\($0)")))
    }
  }

  @Test("plot writes the four files, the same bytes every time")
  func plot() throws {
    let directory = try measuredRun()
    defer { directory.remove() }
    let arguments = ["plot", "run", "--kind", "scaling", "--format", "svg"]
    let result = try AttnbenchProcess.run(arguments, in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(
      result.outputLines == (["scaling.gp", "scaling.svg"] + Self.names).map { "run/\($0)" })
    let first = try files(directory, "run")
    #expect(try AttnbenchProcess.run(arguments, in: directory.root).code == 0)
    #expect(try files(directory, "run") == first)

    let texts = first.map { String(decoding: $0, as: UTF8.self) }
    #expect(texts.allSatisfy { $0.hasSuffix("\n") })
    let flash = try #require(texts[0].split(separator: "\n").first { $0.hasPrefix("flash,") })
    #expect(flash.contains(",8,1000,100000,1.99"))
    let crossing = texts[2].split(separator: "\n").filter { $0.contains(",crossing,") }
    #expect(crossing.count == 3)
    #expect(crossing.contains { $0.hasPrefix("window(512),restricted,strided,restricted,") })
    let predicted = texts[3].split(separator: "\n").filter { $0.contains(",predicted,") }
    #expect(predicted.count == 1)
    #expect(predicted.first?.contains(",100000,predicted,skipped_memory,64000,6,") == true)
    let picture = try String(contentsOfFile: directory.path("run/scaling.svg"), encoding: .utf8)
    #expect(picture.contains(">predicted<"))
  }

  @Test("with -o they lie beside the pictures; without the scaling picture there are none")
  func elsewhere() throws {
    let directory = try measuredRun()
    defer { directory.remove() }
    let other = try AttnbenchProcess.run(
      ["plot", "run", "--format", "svg", "-o", "pictures"], in: directory.root)
    #expect(other.code == 0, "\(other.error)")
    #expect(other.outputLines.suffix(4) == Self.names.map { "pictures/\($0)" }[...])
    let inputs = ["meta.json", "results.csv", "samples.csv"]
    func contents(_ folder: String) throws -> [String] {
      try FileManager.default.contentsOfDirectory(atPath: directory.path(folder)).sorted()
    }
    #expect(try contents("run") == inputs)
    let efficiency = try AttnbenchProcess.run(
      ["plot", "run", "--kind", "efficiency", "--format", "svg"], in: directory.root)
    #expect(efficiency.code == 0)
    #expect(try contents("run") == (["efficiency.gp", "efficiency.svg"] + inputs).sorted())
  }

  @Test("without samples.csv there are exponents without intervals")
  func noSamples() throws {
    let directory = try measuredRun()
    defer { directory.remove() }
    try FileManager.default.removeItem(atPath: directory.path("run/samples.csv"))
    let result = try AttnbenchProcess.run(
      ["plot", "run", "--kind", "scaling", "--format", "svg"], in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    let fits = try String(contentsOfFile: directory.path("run/fits.csv"), encoding: .utf8)
    let flash = try #require(fits.split(separator: "\n").first { $0.hasPrefix("flash,") })
    let cells = flash.split(separator: ",", omittingEmptySubsequences: false)
    #expect(cells[14].hasPrefix("1.99") && cells[15].isEmpty && cells[16].isEmpty)
  }

  @Test("a sweep prints its exponents, crossings and checks, and a resumed one writes them again")
  func sweep() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let arguments = [
      "sweep", "--n", "16,32,64", "--strategy", "full,flash", "--threads", "1", "--min-samples",
      "3", "--rel-ci", "90%", "-o", "out",
    ]
    let result = try AttnbenchProcess.run(arguments, in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(result.outputLines.contains { $0.hasPrefix("curve ") && $0.contains("held out") })
    #expect(result.outputLines.contains { $0.hasPrefix("flash ") && $0.contains(" n^") })
    for name in Self.names {
      #expect(result.outputLines.contains("scaling  out/\(name)"))
    }
    let first = try files(directory, "out")
    try Data().write(to: URL(fileURLWithPath: directory.path("out/fits.csv")))
    let resumed = try AttnbenchProcess.run(arguments + ["--resume"], in: directory.root)
    #expect(resumed.code == 0, "\(resumed.error)")
    #expect(try files(directory, "out") == first)
  }

  @Test("a sweep over one size has no block, and its files")
  func oneSize() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let result = try AttnbenchProcess.run(
      [
        "sweep", "--n", "16", "--strategy", "flash", "--threads", "1", "--min-samples", "3",
        "--rel-ci", "90%", "-o", "out",
      ], in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(!result.output.contains("held out"))
    #expect(try files(directory, "out").allSatisfy { !$0.isEmpty })
  }
}
