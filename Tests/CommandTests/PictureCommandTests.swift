import Foundation
import Testing

/// `attnbench mask --inputs` and `attnbench report`.
@Suite("Pictures of heads and runs")
struct PictureCommandTests {
  @Test("mask --inputs draws a head in characters, with what each strategy keeps")
  func mapText() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(heads: 2, n: 9).write(to: directory)
    let result = try AttnbenchProcess.run(
      [
        "mask", "--inputs", "qkv.safetensors:layer7", "--head", "1", "--strategy",
        "window(1),flash", "--causal",
      ], in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(result.line(0) == "qkv.safetensors:layer7, head 1, h2 n9 d5 causal")
    #expect(result.line(1) == "softmax attention")
    #expect(result.line(2) == "#        ", "the first query has but one key")
    #expect(result.output.contains("window(1): keeps "))
    #expect(result.output.contains("flash: keeps 100% of the attention"))
    #expect(result.output.contains("looked at: all 9 queries"))
    #expect(try directory.contents.count == 4, "nothing is written")
  }

  @Test("mask --inputs writes a picture by the name's ending", arguments: ["svg", "png"])
  func mapPicture(format: String) throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(heads: 2, n: 9).write(to: directory)
    let result = try AttnbenchProcess.run(
      [
        "mask", "--inputs", "qkv.safetensors", "--head", "0", "--strategy", "linear", "-n", "4",
        "-o", "map.\(format)",
      ], in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(result.error == "wrote map.\(format)\n")
    #expect(result.output.contains("h2 n4 d5"))
    let size = FileManager.default.contents(atPath: directory.path("map.\(format)"))?.count ?? 0
    #expect((1000..<1_000_000).contains(size))
  }

  @Test(
    "mask says what it cannot mean",
    arguments: [
      (["--inputs", "qkv.safetensors"], "say which head to draw with --head"),
      (["--inputs", "qkv.safetensors", "--head", "2"], "--head 2: there are 0 to 1"),
      (
        ["--inputs", "qkv.safetensors", "--head", "0", "--batch", "1"], "--batch 1: there is only 0"
      ),
      (
        ["--inputs", "qkv.safetensors", "--head", "0", "-n", "10"],
        "has 9 queries; give at most that"
      ),
      (["--inputs", "qkv.safetensors", "--head", "0", "-o", "a.pdf"], "must end in .svg or .png"),
      (["--inputs", "qkv.safetensors", "--head", "0", "--n-kv", "3"], "--n-kv 3: the lengths are"),
      (["-n", "8", "--head", "0"], "--head 0: is about tensors"),
      (["-n", "8", "-o", "a.png"], "a mask is written as .svg"), ([], "give -n"),
    ])
  func refused(arguments: [String], message: String) throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(heads: 2, n: 9).write(to: directory)
    let result = try AttnbenchProcess.run(
      ["mask", "--strategy", "flash"] + arguments, in: directory.root)
    #expect(result.code == 64)
    #expect(result.errorLines.count == 1)
    #expect(result.error.contains(message), "\(result.error)")
    #expect(try directory.contents.count == 4)
  }

  @Test("report writes a page beside the results, and where -o says")
  func report() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let sweep = try AttnbenchProcess.run(
      [
        "sweep", "--n", "16,32", "--strategy", "full,flash", "--threads", "1", "--min-samples",
        "3", "--rel-ci", "90%", "-o", "out",
      ], in: directory.root)
    #expect(sweep.code == 0, "\(sweep.error)")
    let result = try AttnbenchProcess.run(["report", "out"], in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(result.outputLines == ["out/report.html"])
    let page = try String(contentsOfFile: directory.path("out/report.html"), encoding: .utf8)
    #expect(page.hasPrefix("<!DOCTYPE html>") && page.hasSuffix("</html>\n"))
    #expect(page.contains("--min-samples 3"))
    let other = try AttnbenchProcess.run(
      ["report", "out", "-o", "a.html", "--max-error", "0.5,1e-3"], in: directory.root)
    #expect(other.outputLines == ["a.html"])
    let limits = try String(contentsOfFile: directory.path("a.html"), encoding: .utf8)
    #expect(limits.contains("error ≤ 0.001</th>") && limits.contains("error ≤ 0.5</th>"))
  }

  @Test("report names what is missing, in one line")
  func reportFails() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let missing = try AttnbenchProcess.run(["report", "nothing"], in: directory.root)
    #expect(missing.code == 1 && missing.errorLines.count == 1)
    #expect(missing.error.contains("nothing/results.csv"))
    let limit = try AttnbenchProcess.run(
      ["report", "nothing", "--max-error", "-1"], in: directory.root)
    #expect(limit.code == 64 && limit.error.contains("'-1' is no error above 0"))
  }
}
