import Foundation
import Testing

@Suite("attnbench plot")
struct PlotCommandTests {
  /// A sweep's directory, made by a sweep.
  private func sweep() throws -> TemporaryDirectory {
    let directory = try TemporaryDirectory()
    let result = try AttnbenchProcess.run(
      [
        "sweep", "--n", "16,32", "--strategy", "full,flash", "--threads", "1", "--min-samples",
        "3", "--rel-ci", "90%", "-o", "out",
      ], in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    return directory
  }

  @Test("without gnuplot: one line that names the package")
  func missingGnuplot() throws {
    let directory = try sweep()
    defer { directory.remove() }
    let result = try AttnbenchProcess.run(
      ["plot", "out", "-o", "pictures"], environment: ["PATH": "/nowhere"], in: directory.root)
    #expect(result.code == 1)
    #expect(result.errorLines.count == 1)
    #expect(result.error.contains("apt-get install -y gnuplot-nox"))
    #expect(try directory.contents == ["out"])
  }

  @Test("draws what was asked for, keeps the scripts, and notes a torn last line")
  func pictures() throws {
    let directory = try sweep()
    defer { directory.remove() }
    let results = URL(fileURLWithPath: directory.path("out/results.csv"))
    try (Data(contentsOf: results) + Data("1,torn".utf8)).write(to: results)
    let result = try AttnbenchProcess.run(
      ["plot", "out", "--kind", "scaling,speedup", "--format", "svg", "-o", "a/b"],
      in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(result.errorLines.count == 1)
    #expect(result.error.contains("torn last line of 6 bytes"))
    #expect(
      result.outputLines == [
        "a/b/scaling.gp", "a/b/scaling.svg", "a/b/speedup.gp", "a/b/speedup.svg",
        "a/b/fits.csv", "a/b/slopes.csv", "a/b/crossovers.csv", "a/b/predictions.csv",
      ])
    for path in result.outputLines {
      #expect(FileManager.default.contents(atPath: directory.path(path))?.isEmpty == false)
    }
  }

  @Test("draws in characters on the terminal and writes nothing")
  func terminal() throws {
    let directory = try sweep()
    defer { directory.remove() }
    let before = try FileManager.default.contentsOfDirectory(atPath: directory.path("out"))
    let result = try AttnbenchProcess.run(
      ["plot", "out", "--terminal", "--kind", "scaling"], environment: ["COLUMNS": "70"],
      in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(result.output.contains("sequence length n"))
    let after = try FileManager.default.contentsOfDirectory(atPath: directory.path("out"))
    #expect(before.sorted() == after.sorted())
  }

  @Test("a directory without results is named")
  func noResults() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let result = try AttnbenchProcess.run(["plot", "nothing"], in: directory.root)
    #expect(result.code == 1)
    #expect(result.errorLines.count == 1)
    #expect(result.error.contains("nothing/results.csv"))
  }
}
