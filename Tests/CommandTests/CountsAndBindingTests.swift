import AttentionBench
import Testing

@Suite("Counts, sizes and bindings")
struct CountsAndBindingTests {
  @Test("every count takes suffixes and a fraction that they make whole")
  func counts() throws {
    let result = try AttnbenchProcess.run([
      "verify", "--n", "0.064k,0.5k..1Ki", "--strategy", "window(0.1k, sinks: 0.002k)", "--heads",
      "0.002k", "--kv-heads", "1", "--head-dim", "0.016k", "--rows", "0.01k", "--n-kv", "1.5k",
      "--threads", "0.001k",
    ])
    #expect(result.code == 0, "\(result.error)")
    #expect(result.output.contains("window(100, sinks: 2)"))
    #expect(result.output.contains("n1000x1500") || result.output.contains("1500"))
  }

  @Test(
    "what is not whole is refused with the way to write it",
    arguments: [
      ["verify", "--n", "1.2345k"], ["verify", "--n", "8", "--n-kv", "1.5"],
      ["verify", "--n", "8", "--heads", "1.5"], ["verify", "--n", "8", "--rows", "0.3Ki"],
      ["sweep", "--n", "8", "--min-samples", "2.5"], ["sweep", "--n", "8", "--decode=1.5"],
      ["recommend", "--n", "8", "--error-rows", "1.0001k"],
    ])
  func notWhole(arguments: [String]) throws {
    let result = try AttnbenchProcess.run(arguments)
    #expect(result.code == 64)
    #expect(result.error.contains("this is not whole"), "\(result.error)")
    #expect(result.error.contains("1.5k (1500)"))
    let value = try #require(arguments.last?.split(separator: "=").last)
    #expect(result.error.contains(value))
  }

  @Test(
    "best effort goes on where a binding cannot be had, says so and records what is so",
    arguments: ["core:9999", "core:0,9999", "pu:9999", "numa:77"])
  func bestEffort(binding: String) throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let threads = ["--threads", "1", "--bind", binding]
    let strict = try AttnbenchProcess.run(["verify", "--n", "8", "--strategy", "flash"] + threads)
    #expect(strict.code == 64 || strict.code == 1)

    let lenient = threads + ["--best-effort-bind"]
    let verified = try AttnbenchProcess.run(
      ["verify", "--n", "8", "--strategy", "flash"] + lenient)
    #expect(verified.code == 0, "\(verified.error)")
    #expect(verified.error.contains("warning: --bind \(binding): "))
    #expect(verified.error.contains("--best-effort-bind goes on with unbound workers"))

    let swept = try AttnbenchProcess.run(
      ["sweep", "--n", "8", "--strategy", "flash", "--rel-ci", "90%", "-o", directory.path("out")]
        + lenient)
    #expect(swept.code == 0, "\(swept.error)")
    #expect(swept.error.contains("warning: --bind \(binding): "))
    let rows = try RunDirectory.readResults(in: directory.path("out")).rows
    #expect(rows.map(\.placement.bind) == ["none"])
  }

  @Test("best effort has more workers than cores, too")
  func moreWorkersThanCores() throws {
    let result = try AttnbenchProcess.run([
      "sweep", "--n", "8", "--strategy", "flash", "--threads", "300", "--best-effort-bind",
      "--dry-run",
    ])
    #expect(result.code == 0, "\(result.error)")
    #expect(result.error.contains("300 workers need 300 cores"))
  }
}
