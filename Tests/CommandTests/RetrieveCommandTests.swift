import Foundation
import Testing

@Suite("attnbench retrieve")
struct RetrieveCommandTests {
  @Test("prints a row for each distance, and writes figures and pictures")
  func tableAndFiles() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let result = try AttnbenchProcess.run(
      [
        "retrieve", "--n", "200", "--strategy", "flash,window(32)", "--causal", "--distances",
        "31,32", "--needles", "40", "-o", "a/b",
      ], in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    let words = result.outputLines.map { $0.split(separator: " ").map(String.init) }
    #expect(words[0] == ["distance", "needles", "flash", "window(32)"])
    #expect(words[2] == ["31", "40", "100.0%", "100.0%"])
    #expect(words[3].prefix(3) == ["32", "40", "100.0%"])
    #expect(words[3][3] != "100.0%")
    #expect(result.output.contains("guessing finds 0.5%"))
    let files = try FileManager.default.contentsOfDirectory(atPath: directory.path("a/b")).sorted()
    #expect(files == ["retrieval.csv", "retrieval.gp", "retrieval.png", "retrieval.svg"])
    #expect(result.errorLines.filter { $0.hasPrefix("wrote ") }.count == 4)
  }

  @Test("without gnuplot the figures are kept")
  func missingGnuplot() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let result = try AttnbenchProcess.run(
      ["retrieve", "--n", "64", "--strategy", "window(8)", "--needles", "4", "-o", "out"],
      environment: ["PATH": "/nowhere"], in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(result.error.contains("gnuplot-nox"))
    #expect(result.output.contains("after"))
    let files = try FileManager.default.contentsOfDirectory(atPath: directory.path("out"))
    #expect(files == ["retrieval.csv"])
  }

  @Test("the same command line gives the same bytes")
  func repeatable() throws {
    let arguments = ["retrieve", "--n", "120", "--strategy", "linear", "--causal", "--seed"]
    let first = try AttnbenchProcess.run(arguments + ["5"])
    #expect(first.code == 0, "\(first.error)")
    #expect(try AttnbenchProcess.run(arguments + ["5"]).output == first.output)
    #expect(try AttnbenchProcess.run(arguments + ["6"]).output != first.output)
  }

  @Test(
    "what cannot be meant is named, with the rule",
    arguments: [
      (["--n", "8k", "--head-dim", "16"], "error: --head-dim 16: too few dimensions"),
      (
        ["--n", "100", "--distances", "100"], "error: --distances 100: no query has a key that far"
      ),
      (["--n", "100", "--needles", "0"], "error: --needles 0:"),
      (["--n", "1"], "error: --n 1:"),
      (["--n", "100", "--strategy", "flsh"], "did you mean 'flash'"),
    ])
  func usage(arguments: [String], message: String) throws {
    let result = try AttnbenchProcess.run(["retrieve"] + arguments)
    #expect(result.code == 64)
    #expect(result.errorLines.count == 1)
    #expect(result.error.contains(message), "\(result.error)")
    #expect(result.output.isEmpty)
  }

  @Test("recommend shows certified bounds, and needles where they are asked for")
  func recommend() throws {
    let arguments = [
      "recommend", "--n", "128", "--strategy", "flash,window(64)", "--max-error", "none",
      "--max-time", "1h", "--budget", "1h",
    ]
    let table = try AttnbenchProcess.run(arguments + ["--retrieval"])
    #expect(table.code == 0, "\(table.error)")
    let header = table.line(0).split(separator: " ").map(String.init)
    #expect(header.contains("bound") && header.contains("found"))
    #expect(table.output.contains("for certain"))

    let plain = try AttnbenchProcess.run(arguments)
    #expect(!plain.line(0).contains("found"))

    let json = try AttnbenchProcess.run(arguments + ["--json"])
    let object = try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any]
    let result = try #require(object?["result"] as? [String: Any])
    let candidates = try #require(result["candidates"] as? [[String: Any]])
    let window = try #require(candidates.first { $0["strategy"] as? String == "window(64)" })
    let certificate = try #require(window["certificate"] as? [String: Any])
    #expect(certificate["rows"] as? Int == 512)
    if let bound = certificate["rel_l2_bound"] as? Double {
      #expect(bound >= window["rel_l2_error"] as? Double ?? .infinity)
    }
  }
}
